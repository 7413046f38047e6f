// Package relay carries client events to the services and their answers back, for the sockets of one gateway.
//
//	session ──► relay ──► bus           client events as NATS requests, one in flight for each socket, in order
//	bus ──► relay ──► sockets           replies, broadcasts, user events, revocations
//	relay ◄──► gRPC                     authenticate a CONNECT, join a room, read what a socket missed
//
// It stands on roomfeed (the events of rooms), presence (who is here), watches (who watches whom), sessionstore (what another gateway
// needs to carry a socket on) and calls (requests to services), and it runs them.
//
//	connect.go, identity.go, revocation.go           from a CONNECT with a token to a socket, and its end
//	events.go, eventqueue.go, request.go, unread.go  from a client event to its answer
//	task.go                                          events that the gateway carries out itself
//	join.go, membership.go, turn.go                  rooms that a socket enters and leaves, also for the cluster
//	resume.go, replay.go, takeover.go                sockets that come back after a broken connection
//	control.go                                       everything from the bus that is not a room event
//
// # Locks
//
// A lock may be taken while locks to its left are held, never the other way:
//
//	session's, holders', the lock of revocations, eventQueue.reading, client.saving ──► client.mu ──► registry, catalog, offsets
//	hub's shard ──► offsets ──► conn
//
// While client.mu is held nothing is sent, and nobody is asked; eventQueue.reading alone is held while a conn is told to pause,
// and client.saving while a state is published.
//
// The queues and their bounds are in docs/queues.md.
package relay
