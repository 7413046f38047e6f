// Package cluster does things with the sockets of all gateways, wherever they are: emits to them, with or without acks, lists
// and disconnects them, takes them into rooms and out. Every gateway can be asked; it asks all of them, itself included, and
// knows by their presence leases how many have to answer:
//
//	caller ──REST, gRPC──► gateway A ══Operation══► A, B, C     each acts on its own sockets
//	       ◄──────────────          ◄═══Answer═════ A, B        C died: the deadline ends the wait, the answer is partial
//
// A's side is server.go (what callers see), request.go (what they may ask) and collector.go (what comes back); leases.go tells who
// has to answer. Everyone's side is apply.go, emit.go and rooms.go.
//
// An operation goes out once and is never repeated: what NATS drops shows as a partial answer, and the caller decides.
//
// Locks: each of Cluster.mu, leases.mu, emits.mu, collector.mu and counter.mu is held for work in memory only, and no other lock is
// taken under it.
package cluster
