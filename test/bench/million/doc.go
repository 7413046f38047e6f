// Million fills as many gateways as it takes for a million connections: each user is another one, authenticated, and in a room of ten whose
// members are at different gateways. It prints how far it came, what that took of memory, and how long everybody needs to be back after all
// connections were cut off at once.
//
//	this program ──starts──▶ NATS, PostgreSQL, services, N gateways        each gateway has its own port
//	      └─────────────────▶ N crowds: this program again, each with the connections of one gateway, from many addresses 127.x.y.z
//
// A process has 20,000 descriptors on most machines, so there is a crowd for each gateway. Crowds are told by their standard input what to
// do, and tell by their standard output once in a while how far they are; they end with their input. Growing stops by itself: at the number
// wanted, when the machine's memory runs low, or when nothing moves any more. Everything that was started is ended and removed.
package main
