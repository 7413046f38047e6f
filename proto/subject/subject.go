package subject

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/starling-chat/starling/proto/limits"
)

// Stream and durable names.
const (
	// RoomsStream holds durable room events for replay; it republishes them to the live subjects.
	RoomsStream = "ROOMS"
	// RoomsStreamSubjects is what the stream takes in.
	RoomsStreamSubjects = "roomlog.v1.>"
	// RoomsStreamGet reads the stream without a consumer.
	RoomsStreamGet = "$JS.API.DIRECT.GET.ROOMS"
	// RoomsLiveSubjects is where the stream republishes to; the wildcard keeps scope and room token.
	RoomsLiveSubjects = "room.v1.>"
)

// Fixed subjects.
const (
	Revoked = "auth.v1.revoked"
	// Named is where auth-service tells chat-service of names that have changed.
	Named           = "auth.v1.named"
	PresenceDelta   = "presence.v1.delta"
	PresenceLease   = "presence.v1.lease"
	PresenceOnline  = "presence.v1.online"
	CatalogAnnounce = "catalog.v1.announce"
	CatalogAsk      = "catalog.v1.ask"
	// Evict is where chat-service tells everybody that users were taken out of a room.
	Evict = "chat.v1.evict"
	// InboxWanted is where gateways say that they have sockets with an inbox.
	InboxWanted = "chat.v1.inbox"
	// Typing is where replicas of chat-service tell each other who is typing; what is lost only lets a notice expire.
	Typing = "chat.v1.typing"
)

// Bounds of outside input.
const (
	// MaxEventName is the longest event name, in bytes, that can be forwarded.
	MaxEventName = 128
	// maxEventTokens bounds the depth of a client event's subject.
	maxEventTokens = 8
	// UserShards is how many subjects user events are spread over.
	UserShards = 256
	// RoomShards is how many subjects the activity of rooms is spread over.
	RoomShards = 256
	// plainToken is the longest input that is kept readable in a token.
	plainToken = 48
)

// ErrEventName refuses an event name that has no subject.
var ErrEventName = errors.New("event name is empty, too long or too deep")

// RoomScope is the scope of chat-service's rooms. One room serves the namespaces / and /chat.
const RoomScope = "root"

// ClientEvent is the subject of an event that a client emitted: message:send on / is client.v1.root.message.send.
func ClientEvent(namespace, event string) (string, error) {
	if event == "" || len(event) > MaxEventName || strings.Count(event, ":") >= maxEventTokens {
		return "", ErrEventName
	}
	var b strings.Builder
	b.Grow(len("client.v1.") + len(namespace) + len(event) + 8)
	b.WriteString("client.v1.")
	b.WriteString(Namespace(namespace))
	for {
		part, rest, more := strings.Cut(event, ":")
		b.WriteByte('.')
		b.WriteString(eventToken(part))
		if !more {
			return b.String(), nil
		}
		event = rest
	}
}

// ClientEventPattern is what a service subscribes to for an event; namespace "*" means all namespaces.
func ClientEventPattern(namespace, event string) (string, error) {
	if namespace == "*" {
		s, err := ClientEvent("/", event)
		return strings.Replace(s, "client.v1.root.", "client.v1.*.", 1), err
	}
	return ClientEvent(namespace, event)
}

// Match tells whether a subject fits a pattern in which * stands for one token.
func Match(pattern, subject string) bool {
	for {
		p, prest, pmore := strings.Cut(pattern, ".")
		s, srest, smore := strings.Cut(subject, ".")
		if p != "*" && p != s || pmore != smore {
			return false
		}
		if !pmore {
			return true
		}
		pattern, subject = prest, srest
	}
}

// Room is the live subject of a room. The logs of users go by shards, so that a user who connects costs no subscription.
func Room(roomID string) string { return "room.v1." + roomTokens(roomID) }

// RoomLog is the stream subject of a room.
func RoomLog(roomID string) string { return "roomlog.v1." + roomTokens(roomID) }

// AllUserLogs matches the live subjects of all users' logs.
const AllUserLogs = "room.v1." + userScope + ".*"

// userScope is the scope of users' logs.
const userScope = "user"

func roomTokens(roomID string) string {
	if user, ok := limits.UserOfLog(roomID); ok {
		return userScope + "." + strconv.Itoa(UserShard(user))
	}
	return RoomScope + "." + RoomToken(roomID)
}

// RoomToken is what a room is called where no other characters may stand, by a name of its own also where it shares a subject.
func RoomToken(roomID string) string { return token(roomID) }

// Broadcast is the subject of events to a whole namespace.
func Broadcast(namespace string) string { return "broadcast.v1." + Namespace(namespace) }

// AllBroadcasts matches every namespace's broadcasts.
const AllBroadcasts = "broadcast.v1.*"

// RoomShard tells which of the RoomShards subjects carries the activity of a room.
func RoomShard(roomID string) int { return shard(roomID, RoomShards) }

// Activity is where it is told how the rooms of a shard stand; gateways hear the shards with a room of an inbox.
func Activity(shard int) string { return "activity.v1." + strconv.Itoa(shard) }

func shard(id string, shards uint32) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum32() % shards)
}

// UserShard tells which of the UserShards subjects carries a user's events.
func UserShard(userID string) int { return shard(userID, UserShards) }

// User is the subject of a user's events.
func User(userID string) string { return UserShardSubject(UserShard(userID)) }

// UserShardSubject is the subject of one shard.
func UserShardSubject(shard int) string { return "user.v1." + strconv.Itoa(shard) }

// PresenceChanged is where it is told who of a shard of users came and went; gateways hear the shards in which somebody is watched.
func PresenceChanged(shard int) string { return "presence.v1.changed." + strconv.Itoa(shard) }

// PresenceSnapshot is where a gateway answers snapshot requests.
func PresenceSnapshot(gatewayID string) string { return "presence.v1.snapshot." + token(gatewayID) }

// Namespace is the token of a Socket.IO namespace: "/" is root, "/chat" is chat.
func Namespace(namespace string) string {
	if namespace == "/" || namespace == "" {
		return "root"
	}
	name := strings.TrimPrefix(namespace, "/")
	if safe(name) && name != "root" {
		return name
	}
	return "=" + base64.RawURLEncoding.EncodeToString([]byte(name))
}

// eventToken keeps ordinary names as they are, so that subjects can be read; everything else is encoded behind '='.
func eventToken(part string) string {
	if safe(part) {
		return part
	}
	return "=" + base64.RawURLEncoding.EncodeToString([]byte(part))
}

// token encodes an id: readable when it is plain and short, base64 when short, a hash otherwise. The first byte tells the
// form, so that two different ids never share a token (save for a SHA-256 collision).
func token(id string) string {
	switch {
	case len(id) <= plainToken && safe(id):
		return "p" + id
	case len(id) <= plainToken:
		return "b" + base64.RawURLEncoding.EncodeToString([]byte(id))
	}
	sum := sha256.Sum256([]byte(id))
	return "h" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// safe tells whether a string can be a subject token as it is.
func safe(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// AllUsers matches every user's events.
const AllUsers = "user.v1.*"

// Engine is where one gateway hears from the others about sessions that live there.
func Engine(gatewayID string) string { return "engine.v1." + token(gatewayID) }

// ClusterOperation is where gateways ask all gateways to do something with their sockets.
const ClusterOperation = "cluster.v1.operation"

// ClusterHello is where a gateway asks the others to show their leases at once.
const ClusterHello = "cluster.v1.hello"

// SessionsBucket is the KV bucket of the sockets that can be recovered.
const SessionsBucket = "SESSIONS"

// SessionState is the key of a socket's state in SessionsBucket.
func SessionState(pid string) string { return "s." + token(pid) }

// SessionEnd is the key that tells when the connection of a socket ended.
func SessionEnd(pid string) string { return "c." + token(pid) }

// GatewayAlive is the key that a gateway renews while it lives.
func GatewayAlive(gatewayID string, incarnation int64) string {
	return "g." + token(gatewayID) + "." + strconv.FormatInt(incarnation, 10)
}

// SessionsKey is the subject of a key of SessionsBucket.
func SessionsKey(key string) string { return "$KV." + SessionsBucket + "." + key }
