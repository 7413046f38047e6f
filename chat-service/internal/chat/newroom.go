package chat

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of a room.
const (
	maxRoomName   = 200     // characters
	maxRoomTopic  = 1000    // characters
	maxRoomURL    = 2 << 10 // bytes
	maxRoomData   = 4 << 10 // bytes of JSON
	maxNewMembers = 100     // who are in a room from its start, or are added at once
	maxDirect     = 9       // users of a direct room, the one who opens it included
)

// Profile is what a room shows of itself.
type Profile struct {
	Name, Topic, AvatarURL string // "" = none
	Data                   []byte // a JSON object, or nil
}

// NewRoom is what a room is made with.
type NewRoom struct {
	Kind    Kind
	Profile Profile
}

// RoomInfo is what a room is, the same for everybody who may see it.
type RoomInfo struct {
	Room      RoomID
	Kind      Kind
	Profile   Profile
	Version   uint64 // counts the changes of the room
	CreatedAt time.Time
	Members   int
}

// CreateRequest is a room to make.
type CreateRequest struct {
	Room    RoomID // "" = one that nobody can guess
	Kind    Kind
	Profile Profile
	Members []Invited
}

// Create makes a room that the caller owns. Its other members are called by their ids until they come.
func (s *Service) Create(ctx context.Context, c Caller, r CreateRequest) (RoomInfo, error) {
	if err := r.check(c.User); err != nil {
		return RoomInfo{}, err
	}
	if r.Room == "" {
		r.Room = RoomID("r_" + rand.Text())
	}
	create := Create{Origin: c.in(r.Room), New: NewRoom{Kind: r.Kind, Profile: r.Profile}, Members: r.Members}
	o, err := s.writer.Do(ctx, create)
	if err != nil {
		return RoomInfo{}, err
	}
	return RoomInfo{
		Room: r.Room, Kind: r.Kind, Profile: r.Profile, Version: 1, CreatedAt: o.CreatedAt, Members: 1 + len(r.Members),
	}, nil
}

// check puts the request into the form in which Create.decide takes it: every member once, and the caller not among them.
func (r *CreateRequest) check(by UserID) error {
	switch {
	case r.Kind != Public && r.Kind != Private:
		return fault.Because(fault.Invalid, fault.ReasonKind, "kind must be public or private")
	case IsDirectID(r.Room):
		return fault.New(fault.Invalid, "roomId has the form of a direct room's")
	case len(r.Members) > maxNewMembers:
		return fault.Newf(fault.TooLarge, "members must have at most %d entries", maxNewMembers)
	}
	known := map[UserID]bool{by: true}
	r.Members = slices.DeleteFunc(slices.Clone(r.Members), func(m Invited) bool {
		twice := known[m.User]
		known[m.User] = true
		return twice
	})
	for i := range r.Members {
		if role := &r.Members[i].Role; *role == "" {
			*role = RoleMember
		} else if role.rank() == 0 {
			return fault.New(fault.Invalid, "members.role must be owner, moderator or member")
		}
	}
	return r.Profile.check()
}

func (p *Profile) check() error {
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
		if err := checkText(f.name, f.value); err != nil {
			return err
		}
	}
	return nil
}

// directPrefix begins the id of a direct room. What follows is a hash of its users.
const directPrefix = "direct:"

// directID is the id of the direct room of these users, in any order. It says nothing about them, and two who open their room at
// once open the same one.
func directID(users []UserID) RoomID {
	sorted := slices.Clone(users)
	slices.Sort(sorted)
	h := sha256.New()
	for _, user := range sorted { // with its length, so that no two lists read the same
		_, _ = h.Write([]byte(strconv.Itoa(len(user)) + ":" + string(user)))
	}
	return RoomID(directPrefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil)))
}

// IsDirectID tells whether an id has the form of a direct room's. Nobody makes such a room but by opening it.
func IsDirectID(id RoomID) bool {
	hash, is := strings.CutPrefix(string(id), directPrefix)
	if !is {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(hash)
	return err == nil && len(raw) == sha256.Size
}

// Open gives the direct room of the caller and some others, and makes it where there is none.
func (s *Service) Open(ctx context.Context, c Caller, others []UserID) (info RoomInfo, created bool, err error) {
	users := append([]UserID{c.User}, others...)
	slices.Sort(users)
	users = slices.Compact(users)
	if len(users) < 2 || len(users) > maxDirect {
		return info, false, fault.Newf(fault.Invalid, "userIds must have 1 to %d other users", maxDirect-1)
	}
	room := directID(users)
	info, standing, err := s.store.Room(ctx, Membership{room, c.User})
	if err != nil || standing.Exists {
		if err == nil {
			err = standing.Refuse(Read, time.Now())
		}
		return info, false, err
	}
	open := Open{Origin: c.in(room)}
	for _, user := range users {
		if user != c.User {
			open.Others = append(open.Others, Invited{User: user})
		}
	}
	o, err := s.writer.Do(ctx, open)
	if err != nil {
		return info, false, err
	}
	info, _, err = s.store.Room(ctx, Membership{room, c.User})
	return info, o.Changed, err
}

// Room tells a user who may enter a room what it is, and how the user stands to it.
func (s *Service) Room(ctx context.Context, user UserID, room RoomID) (RoomInfo, Standing, error) {
	info, standing, err := s.store.Room(ctx, Membership{room, user})
	if err == nil {
		err = standing.Refuse(Enter, time.Now())
	}
	if err != nil {
		return RoomInfo{}, Standing{}, err
	}
	return info, standing, nil
}
