// Package transport carries Engine.IO packets between one client and its session. WebSocket takes frames in and out of a TCP
// connection and keeps nothing for an idle one but its descriptor, and a parked goroutine
// where no event loop waits for it; Polling hands packets out to GETs.
//
// It is the first stop on the line
//
//	transport → session → relay → bus → … → bus → sequence/hub → transport
//
// A Conn knows nothing of Socket.IO. A WebSocket calls its Receiver for every whole message; what POSTs bring goes to the session
// past Polling. A Conn queues Messages, which are encoded once and shared by all conns that they go to.
package transport
