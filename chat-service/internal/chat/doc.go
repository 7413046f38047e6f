// Package chat is the domain: rooms, membership, messages, receipts, typing and notifications, and the use cases on them.
// It declares the ports that it needs (Store, Publisher) and knows no SQL, no NATS and no wire format.
//
//	clientevents, grpcapi → Service ─┬─ Writer (group commit) ─▶ Transaction.Commit ─▶ Publisher.Committed
//	                                 │                              └─ asks Decide what to write
//	                                 └─ reads, receipts, typing ─▶ Store, Publisher
//
// Who may do what in a room is decided in access.go, for writes and reads alike. The rules of a write stand in decide.go and
// batch.go: what follows, which outcome. A Store brings the state and writes the
// changes; it decides nothing.
//
// On the journey of a message it stands between clientevents, which parses the client event, and postgres, which commits it.
//
// # One sequence per room
//
// Every durable event of a room (a message, a join, a leave) takes the next number of the room's row counter, in the
// transaction that stores it. All of them therefore pass the Writer, which batches by room.
//
// # Ids of messages
//
// A message id is a UUIDv7 that carries the message's sequence, so that (room, id) leads to the primary key
// (room, seq) without an index on ids:
//
//	 48 bits        4    12       2     22       40
//	┌──────────────┬───┬────────┬─────┬────────┬──────────────┐
//	│ Unix ms      │ 7 │ random │ 0b10│ random │ sequence     │
//	└──────────────┴───┴────────┴─────┴────────┴──────────────┘
package chat
