// Package busapi is chat-service's NATS side: client events in, room events out.
//
//	server.go     takes client events from gateways in a queue group, in order, and answers them
//	routes.go     which events on which namespaces, and what each of them does
//	publisher.go  room events to the stream right after their commit, or live where the stream is away
//	relay.go      outbox rows that the fast path did not get rid of
//	stream.go     the stream ROOMS
//	gossip.go     what replicas tell each other about typing
//
// On the journey of a message it is both ends of the service: gateway → Server → chat → postgres → Publisher → gateway.
package busapi
