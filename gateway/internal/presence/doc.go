// Package presence tells presence-service which sockets this gateway has, and the gateway's clients who is online.
//
//	sockets ──Up, Down──► Presence ──deltas, lease, snapshots──► bus ──► presence-service
//	clients ◄──Online─── Presence ◄──who is online── bus ◄──────────────────┤
//
// Every change of the sockets counts the version up and goes out as a delta; the lease, published every few seconds, repeats the
// version with the number of sockets and a digest of their ids. Whoever has missed a delta sees that, and asks for a snapshot.
//
// Presence publishes with its lock held, so that versions leave in order; publishing only appends to the connection's buffer.
package presence
