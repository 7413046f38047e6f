// Package subject is the only place that spells NATS subjects and stream names.
//
//	client.v1.<namespace>.<event tokens>   client events, requests; queue groups       gateway → service
//	roomlog.v1.<scope>.<room token>        durable room events into the stream ROOMS    chat-service → JetStream
//	room.v1.<scope>.<room token>           live room events: republished durable ones
//	                                       and ephemeral ones                           JetStream, services → gateways
//	broadcast.v1.<namespace>               to every socket of a namespace               services → gateways
//	user.v1.<shard>                        to every socket of a user                    services → gateways
//	auth.v1.revoked                        revocations                                  auth-service → gateways
//	chat.v1.typing                         who is typing                                chat-service ↔ its replicas
//	presence.v1.delta, .lease              what lives at a gateway                      gateways → presence-service
//	presence.v1.snapshot.<gateway id>      "tell me everything"                         presence-service → that gateway
//	presence.v1.online                     who is online                                presence-service → gateways
//	engine.v1.<gateway id>                 polling, WebSockets and recovery of a session      gateway → gateway
//	cluster.v1.operation, .hello           what all gateways do with their sockets      gateway → gateways
//	catalog.v1.announce, .ask              which client events a service answers        services ↔ gateways
//
// Event names, room ids and user ids are outside input: wildcards, dots, spaces, `$` and every script are legal in them.
// Only encoded tokens of bounded length enter a subject, so no input can reach a subject that is not its own.
package subject
