// Package hub is the index of who is where: which local sockets are in a room, which belong to a user. It encodes an event
// once for each namespace and queues the same bytes to every socket that gets it.
//
//	… → bus → sequence/hub → transport
//
// Rooms are spread over shards. A shard is locked while events are queued, never while bytes are written to a conn: what has to
// be written, closed or published because of an event is the caller's to do, after the call (FlushSet, Effects). Events of a
// room that are many bytes go out in several runs, and between two of them the lock is given back.
package hub
