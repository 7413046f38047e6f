// Package evictor is chat's Evictor on NATS: it tells all gateways that users were taken out of a room, and waits for those that live.
// It knows from their presence leases which these are.
//
//	Evict ══ chat.v1.evict ══▶ gateways: let go of the users' sockets, answer
//	                      ╚══▶ other replicas: forget what they remember of the users
//
// A gateway that does not answer is cut off or dead. When it is back, it delivers nothing that is not in the room's sequence before it
// has caught up with the sequence, and in the sequence stands who was taken out.
package evictor
