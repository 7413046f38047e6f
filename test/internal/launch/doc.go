// Package launch builds and runs the processes of the rigs written in Go: the benchmarks (test/bench) and the fault rig (test/chaos).
//
//	Root, Build      the repository, and programs built from it
//	Ports            addresses on 127.0.0.1 that nobody listens at
//	Process          a child that can be ended and started again
//	Await, Get       waiting until something answers
//	Local            deploy/local, all of Starling in one process, as a child
//
// A Process ends when the rig dies: the kernel sees to it. Only Linux does that, so this package is for Linux only.
package launch
