// Package subject is the only place that spells NATS subjects and stream names, and its table is the only list of them: who
// publishes what, and who listens. A test holds the table against the functions of this package and against the permissions in
// deploy/nats/nats.conf.
//
//	client.v1.<namespace>.<event>    a client's events, requests to a queue group   gateway → chat-service
//	client.v1.<namespace>.presence.<event>   those whose names begin with presence   gateway → chat-service, presence-service
//	roomlog.v1.root.<room>           durable room events, into the stream ROOMS     chat-service → JetStream
//	room.v1.root.<room>              live room events; ROOMS repeats durable ones   chat-service, JetStream → gateway
//	roomlog.v1.user.<shard>          events of users' logs, into the stream ROOMS   chat-service → JetStream
//	room.v1.user.<shard>             live events of users' logs                     chat-service, JetStream → gateway
//	broadcast.v1.<namespace>         to every socket of a namespace                 chat-service → gateway
//	user.v1.<shard>                  to every socket of a user                      chat-service → gateway
//	auth.v1.revoked                  revocations; gateways count what they closed   auth-service → gateway, auth-service
//	chat.v1.evict                    users were taken out of a room; gateways answer  chat-service → gateway, chat-service
//	activity.v1.<shard>              how rooms stand, for inboxes                   chat-service → gateway
//	chat.v1.inbox                    a gateway has sockets with an inbox            gateway → chat-service
//	auth.v1.named                    names that have changed; chat-service confirms  auth-service → chat-service
//	chat.v1.typing                   who is typing; may be lost                     chat-service → chat-service
//	presence.v1.delta                sockets that came and went                     gateway → presence-service, chat-service
//	presence.v1.lease                a gateway lives; sum of its sockets            gateway → presence-service, gateway, chat-service
//	presence.v1.snapshot.<gateway>   "tell me everything"                           presence-service → gateway
//	presence.v1.online               who is online                                  presence-service → gateway, presence-service
//	presence.v1.changed.<shard>      users who came and went, to where one is watched  presence-service → gateway
//	catalog.v1.announce              which client events a service answers          chat-service, presence-service → gateway
//	catalog.v1.ask                   "tell me which you answer"                     gateway → chat-service, presence-service
//	engine.v1.<gateway>              polls, WebSockets, recovery of a session       gateway → gateway
//	cluster.v1.operation             what all gateways do with their sockets        gateway → gateway
//	cluster.v1.hello                 "show your leases at once"                     gateway → gateway
//	$KV.SESSIONS.<key>               state by which a socket is recovered           gateway → JetStream
//
// Services of an operator's own answer client events, and announce that, like chat- and presence-service; they need the same
// permissions. Answers to requests go to the asker's inbox.
//
// Event names, room ids and user ids are outside input: wildcards, dots, spaces, `$` and every script are legal in them.
// Only tokens of bounded length that this package encodes enter a subject, so no input can reach a subject that is not its
// own. An id becomes p<id> when it is short and plain, b<base64> when it is short, h<SHA-256> otherwise: at most 65 bytes. A
// part of an event's name, and a namespace, stay as they are when they are plain, and become =<base64> otherwise. The root of
// rooms is a scope, not a namespace: one room serves / and /chat.
package subject
