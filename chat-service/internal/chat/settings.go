package chat

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of settings.
const (
	maxSlowMode = 6 * time.Hour
	// MaxMembers bounds what Settings may allow.
	MaxMembers = 100_000
)

// Settings are what moderators choose for a room.
type Settings struct {
	Send       access.Role   // the least role that may say something; "" = a member's
	SlowMode   time.Duration // between two messages of a member, in whole milliseconds; 0 = none
	MaxMembers int           // 0 = there is no such bound
}

// Check refuses what is out of bounds.
func (s *Settings) Check() error {
	switch {
	case s.Send != "" && !s.Send.Valid():
		return fault.New(fault.Invalid, "settings.send must be owner, moderator or member")
	case s.SlowMode < 0 || s.SlowMode > maxSlowMode:
		return fault.Newf(fault.Invalid, "settings.slowModeMs must be 0 to %d", maxSlowMode.Milliseconds())
	case s.MaxMembers < 0 || s.MaxMembers > MaxMembers:
		return fault.Newf(fault.Invalid, "settings.maxMembers must be 0 to %d", MaxMembers)
	}
	return nil
}

// RoomDetails is what a room is, beside its sequence, its owner and its members.
type RoomDetails struct {
	Profile    Profile
	Settings   Settings
	Version    uint64    // counts the changes of what stands here
	ArchivedAt time.Time // zero = it is not archived
}

// Patch is a change of a room's details: what is nil stays.
type Patch struct {
	Name, Topic, AvatarURL *string
	Data                   *[]byte // a JSON object; empty = none any more
	Send                   *access.Role
	SlowMode               *time.Duration
	MaxMembers             *int
}

// Apply gives the details with the change, which refuses what is out of bounds.
func (p *Patch) Apply(d RoomDetails) (RoomDetails, error) {
	set(&d.Profile.Name, p.Name)
	set(&d.Profile.Topic, p.Topic)
	set(&d.Profile.AvatarURL, p.AvatarURL)
	set(&d.Profile.Data, p.Data)
	set(&d.Settings.Send, p.Send)
	set(&d.Settings.SlowMode, p.SlowMode)
	set(&d.Settings.MaxMembers, p.MaxMembers)
	if err := d.Profile.Check(); err != nil {
		return d, err
	}
	return d, d.Settings.Check()
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}
