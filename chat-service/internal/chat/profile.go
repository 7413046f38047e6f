package chat

import (
	"time"
	"unicode/utf8"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of what a room shows of itself.
const (
	maxRoomName  = 200     // characters
	maxRoomTopic = 1000    // characters
	maxRoomURL   = 2 << 10 // bytes
	maxRoomData  = 4 << 10 // bytes of JSON
)

// Profile is what a room shows of itself.
type Profile struct {
	Name, Topic, AvatarURL string // "" = none
	Data                   []byte // a JSON object, or nil
}

// NewRoom is what a room is made with.
type NewRoom struct {
	Kind     access.Kind
	Profile  Profile
	Settings Settings
}

// RoomInfo is what a room is, the same for everybody who may see it.
type RoomInfo struct {
	Room RoomID
	Kind access.Kind
	RoomDetails

	CreatedAt time.Time
	Members   int
}

// Check refuses what is too large, or cannot be stored.
func (p *Profile) Check() error {
	switch {
	case utf8.RuneCountInString(p.Name) > maxRoomName:
		return fault.Newf(fault.TooLarge, "profile.name must have at most %d characters", maxRoomName)
	case utf8.RuneCountInString(p.Topic) > maxRoomTopic:
		return fault.Newf(fault.TooLarge, "profile.topic must have at most %d characters", maxRoomTopic)
	case len(p.AvatarURL) > maxRoomURL:
		return fault.Newf(fault.TooLarge, "profile.avatarUrl must have at most %d bytes", maxRoomURL)
	case len(p.Data) > maxRoomData:
		return fault.Newf(fault.TooLarge, "profile.data must have at most %d bytes", maxRoomData)
	}
	for _, f := range []struct{ name, value string }{
		{"profile.name", p.Name}, {"profile.topic", p.Topic}, {"profile.avatarUrl", p.AvatarURL},
	} {
		if err := CheckText(f.name, f.value); err != nil {
			return err
		}
	}
	return nil
}
