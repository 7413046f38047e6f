// Package edge is the gateway's HTTP side: Socket.IO's path, REST and a page.
//
//	listener → edge ─ /socket.io/ ─► transport → session → relay
//	                ├ /api/, /.well-known/ ─► rest → services
//	                └ everything else ─► page
package edge
