// Package usecases is what users, backends and gateways may ask of rooms: messages, joins, moderation, receipts, typing and notifications.
// It declares the ports that it needs (Store, Publisher, Evictor) and knows no SQL, no NATS and no wire format.
//
//	clientevents, grpcapi → Service ─┬─ Writer (group commit) ─▶ Transaction.Commit ─▶ Publisher.Committed
//	                                 │                              └─ asks rules.Decide what to write
//	                                 └─ reads, receipts, typing ─▶ Store, Publisher
//
// Who may do what in a room is decided in package access, for writes and reads alike; the rules of a write stand in package rules.
//
// On the journey of a message it stands between clientevents, which parses the client event, and postgres, which commits it.
package usecases
