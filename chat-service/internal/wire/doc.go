// Package wire maps the domain to what travels: the JSON arguments of client events and acks, and the protobuf form of
// room events. It does no I/O.
//
// clientevents and grpcapi parse and answer with it. postgres keeps room events in the form in which they travel, which its Codec makes;
// a message is stored as a row and encoded again for a replay. Clients get the same arguments either way, from one function; what
// only gateways read differs, for a replayed message says no CausedAt.
package wire
