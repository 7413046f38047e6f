package usecases

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of a room.
const (
	maxNewMembers = 100 // who are in a room from its start, or are added at once
	maxDirect     = 9   // users of a direct room, the one who opens it included
)

// CreateRequest is a room to make.
type CreateRequest struct {
	Room     chat.RoomID // "" = one that nobody can guess
	Kind     access.Kind
	Profile  chat.Profile
	Settings chat.Settings
	Members  []rules.Invited
}

// Create makes a room that the caller owns. Its other members whose names nobody has told are called by their ids until they come.
func (s *Service) Create(ctx context.Context, c Caller, r CreateRequest) (chat.RoomInfo, error) {
	if err := r.check(c.User); err != nil {
		return chat.RoomInfo{}, err
	}
	room := r.Room
	if room == "" {
		room = chat.RoomID("r_" + rand.Text())
	}
	create := rules.Create{Origin: c.in(room), New: chat.NewRoom{Kind: r.Kind, Profile: r.Profile, Settings: r.Settings}, Members: r.Members}
	o, err := s.writer.Do(ctx, c.keyedAs(r.Room, r, create))
	if err != nil {
		return chat.RoomInfo{}, err
	}
	members := len(r.Members)
	if c.User != chat.System {
		members++
	}
	return chat.RoomInfo{
		Room: o.Details.Room, Kind: r.Kind, RoomDetails: chat.RoomDetails{Profile: r.Profile, Settings: r.Settings, Version: 1},
		CreatedAt: o.CreatedAt, Members: members,
	}, nil
}

// check puts the request into the form in which Create.decide takes it: every member once, and the caller not among them.
func (r *CreateRequest) check(by chat.UserID) error {
	switch {
	case r.Kind != access.Public && r.Kind != access.Private:
		return fault.Because(fault.Invalid, fault.ReasonKind, "kind must be public or private")
	case chat.IsDirectID(r.Room):
		return fault.New(fault.Invalid, "roomId has the form of a direct room's")
	case len(r.Members) > maxNewMembers:
		return fault.Newf(fault.TooLarge, "members must have at most %d entries", maxNewMembers)
	}
	known := map[chat.UserID]bool{by: true}
	r.Members = slices.DeleteFunc(slices.Clone(r.Members), func(m rules.Invited) bool {
		twice := known[m.User]
		known[m.User] = true
		return twice
	})
	for i := range r.Members {
		if role := &r.Members[i].Role; *role == "" {
			*role = access.RoleMember
		} else if !role.Valid() {
			return fault.New(fault.Invalid, "members.role must be owner, moderator or member")
		}
		if err := r.Members[i].CheckRole(); err != nil {
			return err
		}
	}
	if most := r.Settings.MaxMembers; most > 0 && len(r.Members) >= most {
		return fault.Because(fault.Forbidden, fault.ReasonRoomFull, "The room would have more members than it may have")
	}
	if err := r.Settings.Check(); err != nil {
		return err
	}
	return r.Profile.Check()
}

// Open gives the direct room of the caller and some others, and makes it where there is none. Another backend that asks as itself
// names all of them.
func (s *Service) Open(ctx context.Context, c Caller, others []chat.UserID) (info chat.RoomInfo, created bool, err error) {
	users := slices.Clone(others)
	if c.User != chat.System {
		users = append(users, c.User)
	}
	slices.Sort(users)
	users = slices.Compact(users)
	if len(users) < 2 || len(users) > maxDirect {
		return info, false, fault.Newf(fault.Invalid, "userIds must have 1 to %d other users", maxDirect-1)
	}
	room := chat.DirectID(users)
	info, standing, err := s.store.Room(ctx, c.of(room), c.granted(room))
	if err != nil || standing.Exists && c.RequestKey == "" {
		if err == nil {
			err = refuseOpen(standing)
		}
		return info, false, err
	}
	open := rules.Open{Origin: c.in(room)}
	for _, user := range users {
		if user != c.User {
			open.Others = append(open.Others, rules.Invited{User: user})
		}
	}
	o, err := s.writer.Do(ctx, c.keyed(open))
	if err != nil {
		return info, false, err
	}
	info, _, err = s.store.Room(ctx, c.of(room), c.granted(room))
	return info, o.Changed, err
}

// refuseOpen refuses the direct room that there is to who may not read it, and to two of whom one has blocked the other.
func refuseOpen(s access.Standing) error {
	err := s.Refuse(access.Read, time.Now())
	if err == nil && s.MutedUntil.After(time.Now()) {
		err = access.Blocked()
	}
	return err
}

// Room tells who may look at a room what it is, and how the caller stands to it.
func (s *Service) Room(ctx context.Context, c Caller, room chat.RoomID) (chat.RoomInfo, access.Standing, error) {
	info, standing, err := s.store.Room(ctx, c.of(room), c.granted(room))
	if err == nil {
		err = standing.Refuse(access.Look, time.Now())
	}
	if err != nil {
		return chat.RoomInfo{}, access.Standing{}, err
	}
	return info, standing, nil
}
