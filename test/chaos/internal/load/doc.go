// Package load is the clients of the fault rig: a few hundred Socket.IO clients that behave as the official one does, join rooms,
// send at a seeded rate, come back after every loss, and write down what they did and saw.
//
// # A client
//
//	Load ── plan (who is in which room), generator (who sends what when)
//	 └ client ×N
//	     connection  run dials, connects, reads packets; it dials again 200 ms to 1 s after every end, at any gateway; revoked, every 2 s.
//	                 It gives what it reads to rooms, and acks to the calls that wait for them
//	     rooms       steward brings rooms to where they are wanted: room:join until acked, missing pages, room:leave until acked
//	     sender      run takes messages from a bounded queue and invokes them in order, up to 4 in flight; deliver, one for each of these,
//	                 awaits the ack and tries again with the same clientMsgId for 20 s
//	     actor       does things with messages that were sent: edits, deletes, reacts, pins, reads; one after the other
//	     log         what it hears of its user's own log
//	     device      another one of the user's, for those who are taken out of private rooms, and two for some who move their markers on
//	                 all devices at once, and for some who say nothing: a connection, a log and an inbox, and no rooms
//	     tokens      refresh takes a fresh token in band every 10 to 18 s, for a few clients; of these, half have an account of the system
//	                 and tokens signed by its keys, the others sign their tokens themselves, as another login system would
//
// The parts of a client have locks of their own, which are never held together.
//
// # Private rooms
//
// A third of the rooms is private where a backend's API key is given; moderate.go says what a moderator does there. When an act is acked
// the victim's View ends, with the time of the act's beginning in Removing.
//
// # The log of a user
//
// Every CONNECT says, as useq, up to where the device has heard the log of its user: so it is owed every event, from the first one of the
// log on, once and in order, whatever becomes of its connections. The client asks for the session before as well, and so does a third device;
// the second one does not. Both go away every few seconds while the load runs. What is heard is recorded as Heard, events before the CONNECT reply as those of rooms.
//
// # The inbox
//
// The other devices join no room. What their inboxes show follows from inbox:state, room:activity and the log of the user, as docs/events.md has
// it. It is written down when all is quiet, and so is what a new connection is told then.
//
// # What becomes a View and a Delivery
//
// Recorded is what the application above the client gets, at the time when it gets it. Durable events are message:new, what happens to messages
// (message:edited, message:deleted, message:reactions, message:pinned, message:unpinned), room:user-joined and room:user-left; message:read carries the sequence of the message that was read, takes no number of its
// own, may be lost, and is not recorded.
//
// A room:enter is as many of room:join, with one ack for all of them. Live events of a room come as soon as the room's history has, and before the
// ack: they are recorded with it.
//
// A first room:join opens a View (Since 0, Head the ack's seq). The messages of room:history are recorded when the ack comes, as
// Joined, with seq at most Head. Live events follow from Head+1 on.
//
// A recovered connection continues the views. Events that arrive before the CONNECT reply are given to the application after it, as
// the official client does, and recorded then, as Replayed, with the new connection's number. If the connection ends before
// the reply they are dropped, because the next recovery replays them again; the official client keeps those and shows them
// twice (see Status.DroppedReplays).
//
// A connection that is not recovered ends all views of the one before, at the time that one went down. Then room:join with
// since (the last sequence seen, that of acks of room:join included) and limit 500 opens another View, with Since > 0:
//
//   - as long as hasMore is true the client fetches pages by message:history {after}, and buffers live events meanwhile; if the
//     connection is lost in between and not recovered, nothing of this is recorded and the join starts over with the same since;
//   - when all is there the View is opened, and the messages with Since < seq <= Head are recorded as Joined, ascending,
//     then what was buffered, as Live, from Head+1 on;
//   - everything but messages between Since and Head is in no history and never recorded; what became of older messages is asked for by
//     message:changes, and kept (keep.go) without being recorded. So within a View with
//     Since > 0 the Joined ones must be all messages of (Since, Head], and the others all events after Head.
//
// A View ends when room:leave is acked, or as above; End is 0 if neither happened, also for a client that is disconnected at the end
// of the run. What arrives for a room without an open view is recorded where it may not arrive: after a leave, or on
// a fresh connection before the join's ack. It is not recorded while a join is repeated on a socket that an earlier join,
// whose ack did not come, may have let in.
package load
