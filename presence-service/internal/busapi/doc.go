// Package busapi is what presence-service and the gateways tell each other on NATS: deltas, leases and snapshots of gateways come
// in, who is online goes out.
//
//	presence.v1.delta, .lease     ─▶ Intake ─▶ presence.Registry ─┐ a hole, an unknown gateway, a wrong digest
//	presence.v1.snapshot.<gateway> ◀─ Snapshots ◀─────────────────┘
//	presence.v1.online            ◀─ Publisher ◀─ presence.Keeper        and ─▶ Publisher ─▶ presence.Leadership
package busapi
