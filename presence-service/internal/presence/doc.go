// Package presence is the domain of presence-service: who is online, and when the others were last seen.
//
// Every replica holds the whole picture in memory, told by the gateways (package intake brings it here):
//
//	gateway ──delta, lease──▶ Registry ◀──snapshot── gateway        every replica
//	                             │ Sweep, only while the link is proven
//	                             ▼
//	                          Keeper ──Online──▶ gateways           the leading replica
//	                          Journal ─────────▶ last_seen          the leading replica
//
// A gateway's picture is in one of two states:
//
//	         first delta is version 1, or lease of an empty gateway
//	(unheard) ───────────────────────────────▶ known ◀──────────┐
//	    │                                        │              │ Restore, buffered deltas follow on
//	    │ anything else          hole, digest    ▼              │
//	    └──────────────────────────────────▶ awaiting snapshot ─┘
//
// An awaiting gateway keeps the sockets it had, so repair never makes anybody flap. A lease that ends, an `ending` lease
// and a newer incarnation remove all sockets of the gateway at once.
//
// Time comes in as arguments (Registry, Leadership) or through package time (the loops), which tests run in a bubble of
// testing/synctest. The package imports no transport and no driver; what it needs is declared here and implemented in
// packages publisher, grpcapi and postgres.
package presence
