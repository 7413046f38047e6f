// Package wire maps the domain to what travels: the JSON arguments of client events and acks, and the protobuf form of
// room events. It does no I/O.
//
// busapi and grpcapi parse and answer with it; postgres keeps room events in the same encoded form, so that a replay
// is byte for byte what was delivered live.
package wire
