// Package rpc is how Starling's services call each other by gRPC: one server with
// health, metrics, traces, faults, TLS, and a token for each caller that may call
// what package access says; and connections that spread over all replicas and
// repeat calls to one that went away.
//
// Errors cross the wire as faults (package fault): the server's handlers return
// domain faults or plain errors, the latter become internal with an id that is
// logged here; callers read them back with fault.FromStatus.
package rpc
