// Command bench measures Starling on this machine, and on request the usual Node server beside it, with the same load:
//
//	go run ./test/bench                                   everything; starts a system of its own
//	go run ./test/bench -reference -json results.json     the same on both, with ratios
//	go run ./test/bench -scenario idle -idle 18000        one scenario
//	go run ./test/bench -split -scenario fanout           one process for each service, so that the gateway's own cost is seen
//	go run ./test/bench -scenario inbox                   20,000 users with 50 rooms each in their inbox, on a system of its own as -split starts it
//	go run ./test/bench -url http://127.0.0.1:3000 -pid 4711 -scenario send
//
// It needs Linux (epoll, /proc), loads loopback addresses only, and ends everything that it started. docs/benchmarks.md
// explains the figures.
package main
