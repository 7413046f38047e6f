// Package clientevents says which client events chat-service answers, on which namespaces, and what each of them does.
//
//	gateway ─▶ NATS ─▶ eventserver.Server ─▶ Routes ─▶ wire (arguments) ─▶ usecases.Service ─▶ wire (ack) ─▶ gateway
//
// room:join is missing on purpose: a gateway asks by gRPC, since it has to order the join with the room's live events.
package clientevents
