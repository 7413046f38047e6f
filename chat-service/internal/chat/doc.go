// Package chat is the domain's values: rooms, membership, messages, the facts of a room, and the logs of users. It knows no SQL, no NATS and
// no wire format, starts nothing and waits for nobody. What may become of the values is package rules'.
//
// # One sequence per room
//
// Every durable event of a room (a message, a join, a leave) takes the next number of the room's row counter, in the
// transaction that stores it. All of them therefore pass the Writer of package usecases, which batches by room.
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
