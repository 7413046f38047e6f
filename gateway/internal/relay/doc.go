// Package relay stands between sessions and the services; it is the only package that knows both.
//
//	session → relay → bus          client events as NATS requests, one at a time for each socket, in order
//	bus → relay → sequence/hub       room events, broadcasts, user events, presence, revocations
//	relay ↔ gRPC                   authenticate, join a room, repair a gap
//
// Queues and their bounds: see docs/ARCHITECTURE.md, "Queues".
package relay
