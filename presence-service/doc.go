// Package presenceservice knows who is online, on which gateways' word, and when the others were last seen.
//
// Any number of replicas run side by side; each holds the whole picture in memory, rebuilt from the gateways' snapshots
// after a start, and answers questions. One of them leads: it tells the gateways who is online and writes to PostgreSQL.
//
//	internal/presence      the domain: registry, leases, graces, leadership
//	internal/intake        NATS: deltas, leases and snapshots of gateways come in
//	internal/publisher     NATS: who is online goes out
//	internal/clientevents  NATS: presence:get
//	internal/grpcapi       gRPC: GetPresence; asks chat-service for a room's members
//	internal/postgres      last_seen, and the leader's lock
package presenceservice
