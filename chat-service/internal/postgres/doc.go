// Package postgres is chat's Store on PostgreSQL, and the outbox between commit and publication.
//
// On the journey of a message it stands between chat's Writer and package publisher: attempt.go takes a batch to the database
// and back in two round trips (package roundtrip), between which rules.Decide says what to write; commit.go has their statements; outbox.go hands rows
// that were not published to the relay.
//
// It knows no wire format: its Codec makes the bytes of events.
//
// # Tables
//
//	rooms        the row counter last_seq, and who owns the room
//	memberships  who is in which room, with which role
//	restrictions who is banned from a room, or muted in it
//	messages     the room log's messages          ┐ both numbered by rooms.last_seq: together they are the
//	room_events  the room log's other events      ┘ room's log, 1..last_seq without holes
//	receipts     read up to a sequence
//	user_logs    the counter last_seq of a user's log
//	user_events  the facts of users' logs: the last thousand of each, and before them those that none has replaced
//	room_prefs   how users want their rooms shown
//	blocks       who has blocked whom
//	invites      what is kept of invites
//	answers      to requests with an idempotency key, for a day
//	changed_messages, replies, message_edits, reactions, pins, erasures   what is kept beside messages: package messages
//	outbox       one row a transaction: its events, until the stream has them
//	notifications, which package notifications has; what reads user_logs and user_events is in package userlogs
//
// A message is its own event: it is inserted once, and message:new is made from it again for a replay, as it is by then. So is every event
// that shows a message.
//
// Locks are taken in one order, rooms by room_id, then names and logs by user_id, so that batches of several replicas cannot deadlock.
package postgres
