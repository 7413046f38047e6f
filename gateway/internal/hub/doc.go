// Package hub is the index of who is where: which local sockets are in a room, which belong to a user. It encodes an event
// once for each namespace and queues the same bytes to every socket that gets it.
//
//	… → bus → replay/hub → transport
//
// Rooms are spread over shards; a shard is locked while an event is queued, never while bytes are written to a conn.
package hub
