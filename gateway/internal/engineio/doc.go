// Package engineio is the codec of Engine.IO protocol version 4: bytes in, packets out, and back.
//
// Its place in the gateway's line is the first step after the transport:
//
//	transport → session → relay
//	    │
//	    └─ frames and polling bodies ⇄ engineio.Packet ⇄ socketio.Packet
//
// A transport reads WebSocket frames (DecodeFrame) or polling bodies (DecodePayload), a session acts on the packets'
// types, and the content of Message packets is the business of package socketio.
//
// The package does no I/O, keeps no clock, starts nothing and holds no state; everything in it may be called from
// any goroutine. Decoded packets alias the bytes they were decoded from, so they live as long as the caller leaves
// those bytes alone; only base64 makes a copy.
//
// One packet, as docs/socketio.md ("Engine.IO") has it:
//
//	            ┌──────┬──────────────┐
//	text        │ type │ UTF-8 …      │   type is one of '0' … '6'
//	            └──────┴──────────────┘
//	            ┌─────────────────────┐
//	binary      │ bytes …             │   WebSocket: a bare binary frame, always a message
//	            └─────────────────────┘
//	            ┌─────┬───────────────┐
//	base64      │ 'b' │ base64 …      │   polling, and WebSocket of a client that asked for b64=1
//	            └─────┴───────────────┘
//	            ┌────────┬──────┬────────┬──────┬────────┐
//	payload     │ packet │ 0x1e │ packet │ 0x1e │ packet │   a polling body, at most maxPayload bytes
//	            └────────┴──────┴────────┴──────┴────────┘
//
// A *ProtocolError is the peer's fault and ends its session. A *RequestError is the HTTP face of a refused request.
package engineio
