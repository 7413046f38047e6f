// Package publisher brings room events out of chat-service, to NATS.
//
//	publisher.go  room events to the stream right after their commit, or live where the stream is away
//	outbox.go     outbox rows that the fast path did not get rid of
//	stream.go     the stream ROOMS
//
// On the journey of a message it is the way out of the service: chat → postgres → Publisher → gateway. The way in is package
// clientevents.
package publisher
