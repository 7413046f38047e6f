// Package watches keeps which sockets of this gateway watch whose presence, and tells them what changes.
//
//	sockets ──Watch──► Watches ──may they? how are they?──► presence-service
//	sockets ◄─presence:changed── Watches ◄──shards with a watched user── bus ◄──┘
//
// Who watches whom is kept here alone. Presence-service says who may and how they are; what changes comes over the bus, only from the
// shards of users in which somebody is watched here, and goes out once a second, only to sockets that watch a user who changed. A
// message that is lost is found out within renewEvery.
package watches
