// Package cluster works on the sockets of all gateways: it emits to them, with or without acks, lists them, disconnects them,
// and takes them into rooms and out of them. A caller asks any gateway. That gateway asks all gateways, itself included, and
// knows from their presence leases how many have to answer:
//
//	caller ──REST, gRPC──► gateway A ══Operation══► A, B, C     each works on its own sockets
//	       ◄──────────────          ◄═══Answer═════ A, B        C died: the deadline ends the wait, the answer is partial
//
// The files server.go (what callers see), request.go (what they may ask), leases.go (who has to answer) and collector.go (what
// comes back) are the side of gateway A; apply.go, emit.go and rooms.go are the side of all three.
//
// An operation goes out once and is never repeated: what NATS drops shows as a partial answer, and the caller decides.
//
// Locks: each of Cluster.mu, leases.mu, emits.mu, collector.mu and counter.mu is held for work in memory only, and no other lock is
// taken under it.
package cluster
