// Package socketio is the codec of Socket.IO protocol version 5: bytes in, packets out, and back.
//
// Its place in the gateway's line is inside the session, between the Engine.IO message and the event:
//
//	transport → session → relay
//	               │
//	               └─ engineio.Message ⇄ socketio.Packet ⇄ event name, arguments, acks, attachments
//
// The package does no I/O, keeps no clock, starts nothing. Everything but an Assembler is stateless; an Assembler
// has one owner, the session's reader.
//
// One packet, as docs/socketio.md ("Socket.IO") has it; every part but the type may be absent:
//
//	┌──────┬─────┬────────────┬──────────┬────────────────────────────┐
//	│ type │ n - │ /ns ,      │ ack id   │ JSON                       │
//	└──────┴─────┴────────────┴──────────┴────────────────────────────┘
//	   2                                    ["hello",1]                  EVENT
//	   2            /chat,       12         ["hello",1]                  EVENT that wants an ack
//	   3            /chat,       12         [{"ok":true}]                ACK
//	   5     1-     /chat,                  ["file",{"_placeholder":true,"num":0}]
//	                                        … then n binary frames       BINARY_EVENT
//
// The JSON stays raw from end to end: Decode checks it in one pass, without reflection and with bounds (depth, UTF-8,
// placeholders), and from then on it is sliced, never parsed again. Decoded packets alias the bytes they were
// decoded from, so they live as long as the caller leaves those bytes alone.
//
// Three kinds of errors, never mixed: *ProtocolError is the peer's fault and ends its session; ErrTooDeep comes with
// a usable header, so that the gateway can refuse the one event; *UsageError is the fault of the code that calls this
// package.
package socketio
