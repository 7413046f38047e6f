// Package busapi is the NATS side of presence-service: deltas, leases and snapshots of gateways come in, who is online goes
// out, and the client event presence:get is answered.
//
//	presence.v1.delta, .lease     ─▶ Intake ─▶ presence.Registry ─┐ a hole, an unknown gateway, a wrong digest
//	presence.v1.snapshot.<gateway> ◀─ Snapshots ◀─────────────────┘
//	presence.v1.online            ◀─ Publisher ◀─ presence.Keeper        and ─▶ Publisher ─▶ presence.Leadership
//	client.v1.*.presence.get      ─▶ ClientEvents ─▶ presence.Query      queue group
//	catalog.v1.announce, .ask     ◀▶ Catalog
package busapi
