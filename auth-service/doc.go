// Package authservice is the process that knows who is who: users, passwords, logins, tokens, the keys that sign them,
// revocation and API keys. It answers gateways and other services over gRPC and tells revocations over NATS.
//
//	grpcapi ──▶ auth ──▶ postgres
//	              └────▶ announcer ──▶ NATS ──▶ gateways, other replicas
//
// It starts in any order: while PostgreSQL is away it runs, is not ready and answers unavailable. Without NATS it answers
// everything; revocations wait in the log until NATS is there, and gateways that are cut off read the log themselves.
package authservice
