// Package chatservice is the process that owns rooms, membership, messages, receipts, typing, notifications and the room
// event log. Run is its wiring.
//
//	gateway ──client events──▶ clientevents ─┐          ┌─▶ postgres (schema chat, outbox)
//	gateway ──gRPC───────────▶ grpcapi ──────┴─▶ chat ──┤
//	gateway ◀─room events── NATS ◀── publisher ◀────────┘
//
// Any number of replicas run at once; none has a state that another one needs.
package chatservice
