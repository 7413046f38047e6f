// Package sessionstore keeps what another gateway needs to carry a socket on, in a KV bucket of JetStream:
//
//	s.<pid>   SessionState: who it is, its rooms, which gateway has it     on connect, join, leave, recovery
//	c.<pid>   SessionEnd: when its connection ended                        when the gateway saw it end
//	g.<gateway>.<incarnation>   still alive                                every few seconds
//
// What belongs to a socket that left on purpose is removed a moment later. A gateway that was killed writes no SessionEnd; then its last sign of life counts. The bucket is no record: if it is lost,
// clients get an honest fresh session.
//
// The store knows no sockets. Who loads a state has the gateway of the old connection end it: by a Takeover on the bus, or by
// Load's Takeover, when that gateway is its own.
package sessionstore
