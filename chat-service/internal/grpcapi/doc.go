// Package grpcapi is chat-service's gRPC side: it maps starling.chat.v1 to the domain and back.
//
// Gateways ask here what has to be in order with live events (JoinRoom, ReadRoomEvents, GetHeads); end users and other
// backends come through the gateway's REST edge. It stands beside clientevents on the journey of a message.
package grpcapi
