// Package session is one client's state machine: Engine.IO heartbeat, Socket.IO namespaces, packets in both directions. It
// does not know what events mean; an App does (package relay in production, package conformance for the official suites).
//
//	transport → session → relay → …
//
// The life of a session:
//
//	opened ──CONNECT──► App.Connect ──NewSocket, Admit──► socket in the namespace ──DISCONNECT / close──► App.Disconnected
//	  │                     └──────────Refuse───────────► CONNECT_ERROR
//	  └── no CONNECT within ConnectTimeout, no pong within PingTimeout, a malformed packet ──► closed
package session
