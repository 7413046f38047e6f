// Package sioclient is the Socket.IO client of the rigs. It speaks Engine.IO 4 and Socket.IO 5 in the namespace "/", and knows
// nothing of rooms or messages.
//
//	Parse, AppendConnect, BeginEvent, AppendEvent   packets: bytes in, packets out, no I/O
//	CutFrame, AppendFrame                           WebSocket frames: the same
//	Recovery, Acks                                  what a client remembers from one connection to the next
//	Link: DialWebSocket, DialPolling                transports that block
//	Conn                                            one connection over a Link, as the official client behaves
//
// The fault rig (test/chaos) uses all of it. The load generator of the benchmarks (test/bench/internal/swarm) uses packets and
// frames only, beneath an event loop of its own: a Link needs a goroutine for each connection, which thousands of connections
// cannot afford. The functions that the load generator calls for every packet do not allocate.
package sioclient
