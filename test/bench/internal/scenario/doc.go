// Package scenario holds the scenarios of the benchmarks. Each loads a system in one way and measures it, from the clients' side
// through package swarm and from the server's through /proc. A scenario also checks what its clients receive: numbers of a
// system that loses messages mean nothing.
package scenario
