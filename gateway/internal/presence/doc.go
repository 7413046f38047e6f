// Package presence tells presence-service which sockets this gateway has, and the gateway's clients who is online.
//
//	sockets ──Up, Down──► Presence ──deltas, lease, snapshots──► bus ──► presence-service
//	clients ◄──Online─── Presence ◄──who is online── bus ◄──────────────────┤
//	watchers ◄─presence:changed── Presence ◄──shards with a watched user── bus ◄┘
//
// Every change of the sockets counts the version up and goes out as a delta; the lease, published every few seconds, repeats the
// version with the number of sockets and a digest of their ids. Whoever has missed a delta sees that, and asks for a snapshot.
//
// Who watches whom is kept here alone. Presence-service says who may and how they are; what changes comes over the bus, only from the
// shards of users in which somebody is watched here, and goes out once a second, only to sockets that watch a user who changed. A
// message that is lost is found out within renewEvery.
//
// Presence publishes with its lock held, so that versions leave in order; publishing only appends to the connection's buffer.
package presence
