package presence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starling-chat/starling/proto/limits"
)

// UserID names a user; ParseUserID takes it in at the borders.
type UserID string

// MaxAsked is how many users one question may name.
const MaxAsked = 500

// ErrUserID refuses a text that cannot name a user.
var ErrUserID = fmt.Errorf("a user id has 1 to %d printable characters, and is not %s", limits.UserIDChars, limits.SystemUserID)

// ParseUserID takes in a user id, as auth-service bounds it; ErrUserID when it cannot be one.
func ParseUserID(s string) (UserID, error) {
	if !limits.ValidUserID(s) {
		return "", ErrUserID
	}
	return UserID(s), nil
}

// GatewayID names a gateway process, the same over restarts when the operator sets it.
type GatewayID string

// SocketID names a socket, unique at its gateway.
type SocketID string

// Socket is one living socket of a user.
type Socket struct {
	ID   SocketID
	User UserID
}

// Delta tells the sockets that came and went at one gateway. Versions of an incarnation count from 1 without holes.
type Delta struct {
	Gateway     GatewayID
	Incarnation int64
	Version     uint64
	Up          []Socket
	Down        []SocketID
}

// Lease keeps a gateway's claim alive and sums up what lives there as of Version.
type Lease struct {
	Gateway     GatewayID
	Incarnation int64
	Version     uint64
	Sockets     uint32
	Digest      uint64 // XOR of HashSocket over the sockets
	Ending      bool   // the gateway goes for good
}

// Snapshot is everything that lives at a gateway as of Version.
type Snapshot struct {
	Gateway     GatewayID
	Incarnation int64
	Version     uint64
	Sockets     []Socket
}

// Scope says who may know of whom that he is online.
type Scope string

// The scopes.
const (
	ScopeEveryone Scope = "everyone" // everybody of everybody
	ScopeRooms    Scope = "rooms"    // who shares a room
	ScopeNone     Scope = "none"     // nobody
)

// Online is who is online, for the gateways.
type Online struct {
	Users    []UserID // sorted, when Complete
	Count    int      // 0 unless everybody may know
	Complete bool     // Users are all, and everybody may know them
	Listed   bool     // Users and Count are to be told; the changes are in any case
	Changes  []Change // who came and went since the last message, for those who watch them; in no order

	upTo uint64 // number of the newest change that went in
}

// Change is how a user is by now.
type Change struct {
	User   UserID
	Online bool
	Seen   time.Time // of one who went: when it was seen last
}

// Status is what one user's presence looks like to others.
type Status struct {
	User     UserID
	Online   bool
	LastSeen time.Time // zero when the user is online or was never seen
}

// Sighting is a time at which a user was online.
type Sighting struct {
	User UserID
	At   time.Time
}

// MaxListed is up to how many users online everybody is told the list of all of them. Above, one hears of those whom one watches.
const MaxListed = 500

// Refusals. Errors of ports that wrap none of them are internal.
var (
	// ErrWarming refuses questions until the picture is complete after a start.
	ErrWarming = errors.New("presence is still being gathered")
	// ErrUnavailable marks errors of ports whose other side is away.
	ErrUnavailable = errors.New("unavailable")
	// ErrTooLarge refuses a room with more members than may be asked for, or watched.
	ErrTooLarge = errors.New("the room has too many members")
	// ErrOff refuses all questions where the Scope is none.
	ErrOff = errors.New("presence is turned off")
)

// LastSeenStore remembers when users were last seen. Its errors wrap ErrUnavailable while the database is away.
type LastSeenStore interface {
	// SaveSightings stores the newest sighting of each user; an older one never replaces a newer one.
	SaveSightings(ctx context.Context, sightings []Sighting) error
	// LastSeen gives the sightings of those users that have one.
	LastSeen(ctx context.Context, users []UserID) (map[UserID]time.Time, error)
}

// Members knows who is in a room.
type Members interface {
	// Members lists the room's members, asked in the name of a user who must be let read it.
	Members(ctx context.Context, room string, as Asker) ([]UserID, error)
	// Roommates gives those of the users who share a room with a user.
	Roommates(ctx context.Context, of Asker, users []UserID) ([]UserID, error)
}

// Asker is a user in whose name is asked.
type Asker struct {
	User UserID // "" = nobody's
	// Opens is what the user's token opens, in the form in which it came: it is passed on unread to whoever knows rooms.
	Opens any
}

// Publisher tells the gateways who is online.
type Publisher interface {
	// PublishOnline sends the list to all gateways, if it is to be told, and the changes to those where somebody is watched. standIn says
	// that the sender leads without the lock.
	PublishOnline(ctx context.Context, online Online, standIn bool) error
}

// Link is the way to the gateways.
type Link interface {
	// Prove makes a round trip and fails when it cannot be made soon (about a second).
	Prove(ctx context.Context) error
}
