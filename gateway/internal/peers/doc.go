// Package peers lets any gateway serve any session. The load balancer sends a request of a session to any gateway; its id tells
// which gateway has the session, and the two gateways do the rest over NATS:
//
//	client ──GET, POST──► gateway B ══NATS request══► gateway A (has the session)
//	client ◄═WebSocket══► gateway B ◄═══ tunnel ═══► gateway A
//
// A polling request is passed on to the session's gateway, and its answer back. The WebSocket of an upgrade is carried through
// a tunnel, message by message: gateway B is the carrier, gateway A the owner. What NATS drops cannot be made up for, so both
// sides count; a hole ends the tunnel, and the client recovers its sockets with a new connection.
//
// Locks: Peers.mu is held for map accesses only, and no other lock is taken under it. tunnel.sending is held
// while a message is counted and published, so that messages leave in the order of their numbers; tunnel.mu, which callers that hold a
// hub's shard take as well, is not.
package peers
