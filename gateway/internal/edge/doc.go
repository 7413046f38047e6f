// Package edge is the gateway's HTTP side: Socket.IO's path, REST generated from the protos, the OpenAPI document and a page.
//
//	listener → edge ─ /socket.io/ ─► transport → session → relay
//	                ├ /api/, /.well-known/ ─► grpc-gateway → services
//	                └ everything else ─► page
package edge
