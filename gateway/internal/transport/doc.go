// Package transport carries Engine.IO packets between one client and its session: WebSocket frames in and out of a TCP
// connection, with nothing kept for an idle one but its descriptor and a parked goroutine.
//
// It is the first stop on the line
//
//	transport → session → relay → bus → … → bus → sequence/hub → transport
//
// A Conn knows nothing of Socket.IO. It calls its Receiver for every whole message, and queues bytes that a Sender
// encoded once and shares between all conns of a room.
package transport
