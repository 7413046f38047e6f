// Package fault is the closed list of reasons for which Starling refuses a request, and how each of them looks on
// every border: the code in a Socket.IO ack, the gRPC status between services, the HTTP status at the edge.
//
// A fault is the refusal of one request; it never ends a connection. Errors that are not faults are internal: their text
// stays in the log under an id, and the caller sees only the id.
package fault
