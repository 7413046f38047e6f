// Package calls carries client events to the services as NATS requests, and finds out what became of them:
//
//	Start ──request──► NATS ──► a replica of the service
//	                   │ no answer for a quarter of the time: again, to any replica
//	                   │ the answer to an earlier attempt may be held for a moment: see attempts.go
//	Answered ◄─────────┘ what all replies together say, or Failed
//
// It knows no sockets: who asks is behind a Request.
package calls
