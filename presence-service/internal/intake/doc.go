// Package intake brings what gateways tell about their sockets to the registry.
//
//	presence.v1.delta, .lease      ─▶ Intake ─▶ presence.Registry ─┐ a hole, an unknown gateway, a wrong digest
//	presence.v1.snapshot.<gateway> ◀─ Snapshots ◀──────────────────┘
package intake
