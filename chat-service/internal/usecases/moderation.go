package usecases

import (
	"cmp"
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/groupcommit"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of the acts of moderators.
const (
	maxActs    = 256             // at the same time; each waits for gateways
	maxTargets = 100             // users of one act
	maxWhy     = 500             // characters of a reason in words
	actTimeout = 3 * time.Second // of one act, with its eviction
)

// Failure is a user for whom an act was not done.
type Failure struct {
	User   chat.UserID
	Reason fault.Reason
}

// ActResult is what became of an act on several users.
type ActResult struct {
	Done   []chat.UserID
	Failed []Failure
}

// act does something that waits, without holding whoever asked: f runs in a goroutine of its own, of which there are maxActs at most.
// Run awaits them.
func (s *Service) act(ctx context.Context, done func(error), f func(ctx context.Context) error) error {
	select {
	case s.acts <- struct{}{}:
	default:
		return groupcommit.Overloaded()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTimeout)
	go func() {
		defer func() { <-s.acts }()
		defer cancel()
		done(f(ctx))
	}()
	return nil
}

// each does a command for each user, unless refused, and collects what becomes of them. seq is the last sequence that they took.
func (s *Service) each(
	ctx context.Context, c Caller, users []chat.UserID, refused error, command func(chat.UserID) rules.Command,
) (r ActResult, changed []chat.UserID, seq uint64, err error) {
	commands := make([]rules.Command, len(users))
	for i, user := range users {
		commands[i] = command(user)
	}
	outcomes, err := s.doAll(ctx, c, commands, refused)
	for i, o := range outcomes {
		user := users[i]
		f, isFault := errors.AsType[*fault.Error](o.Err)
		switch {
		case o.Err == nil:
			r.Done = append(r.Done, user)
			if o.Changed {
				changed, seq = append(changed, user), max(seq, o.Seq)
			}
		case isFault && f.Reason != "":
			r.Failed = append(r.Failed, Failure{user, f.Reason})
		default:
			err = o.Err
		}
	}
	return r, changed, seq, err
}

// require refuses who may not do something in a room, by what is remembered for a moment.
func (s *Service) require(ctx context.Context, c Caller, room chat.RoomID, act access.Act) error {
	_, err := s.standings.Require(ctx, c.of(room), c.granted(room), act)
	return err
}

// may refuses who may not do something in a room by what is stored now, with the room's own answer to a stranger.
func (s *Service) may(ctx context.Context, c Caller, room chat.RoomID, act access.Act) (access.Kind, error) {
	standing, _, err := s.store.Standing(ctx, c.of(room))
	standing.Granted = c.granted(room)
	if err == nil {
		err = standing.Refuse(act, time.Now())
	}
	return standing.Kind, err
}

// mayModerate refuses who is no moderator before anything is asked of the Writer.
func (s *Service) mayModerate(ctx context.Context, c Caller, room chat.RoomID) error {
	kind, err := s.may(ctx, c, room, access.Moderate)
	if err == nil && kind == access.Direct {
		err = rules.ErrDirect()
	}
	return err
}

// AddMembers makes users members, as far as they may be.
func (s *Service) AddMembers(ctx context.Context, c Caller, room chat.RoomID, users []chat.UserID, role access.Role, done func(ActResult, error)) error {
	if role == "" {
		role = access.RoleMember
	}
	if err := checkTargets(users, role); err != nil {
		return err
	}
	var r ActResult
	return s.act(ctx, func(err error) { done(r, err) }, func(ctx context.Context) error {
		var err error
		r, _, _, err = s.each(ctx, c, users, s.mayModerate(ctx, c, room), func(user chat.UserID) rules.Command {
			return rules.Add{Origin: c.in(room), Who: rules.Invited{User: user, Role: role}}
		})
		return err
	})
}

// RemoveMembers ends memberships. When it is done, no gateway delivers anything of the room to those users.
func (s *Service) RemoveMembers(ctx context.Context, c Caller, room chat.RoomID, users []chat.UserID, why string, done func(ActResult, error)) error {
	if err := cmp.Or(checkTargets(users, access.RoleMember), checkWhy(why)); err != nil {
		return err
	}
	var r ActResult
	return s.act(ctx, func(err error) { done(r, err) }, func(ctx context.Context) error {
		var gone []chat.UserID
		var seq uint64
		var err error
		r, gone, seq, err = s.each(ctx, c, users, s.mayModerate(ctx, c, room), func(user chat.UserID) rules.Command {
			return rules.Remove{Origin: c.in(room), Who: user, Why: why}
		})
		s.evict(ctx, room, gone, seq)
		return err
	})
}

// RemoveMember is RemoveMembers for one user.
func (s *Service) RemoveMember(ctx context.Context, c Caller, room chat.RoomID, user chat.UserID, why string, done func(error)) error {
	if err := checkWhy(why); err != nil {
		return err
	}
	return s.one(ctx, c, nil, rules.Remove{Origin: c.in(room), Who: user, Why: why}, done)
}

// SetRole gives a member another role.
func (s *Service) SetRole(ctx context.Context, c Caller, room chat.RoomID, user chat.UserID, role access.Role, done func(error)) error {
	if err := checkTargets([]chat.UserID{user}, role); err != nil {
		return err
	}
	return s.one(ctx, c, nil, rules.SetRole{Origin: c.in(room), Who: user, Role: role}, done)
}

// Restrict bans or mutes a user until a time, or ends that: see the command. When a ban is done, no gateway delivers anything of the
// room to that user.
func (s *Service) Restrict(ctx context.Context, c Caller, r rules.Restrict, done func(error)) error {
	if err := checkWhy(r.Why); err != nil {
		return err
	}
	var refused error
	if !r.Until.IsZero() && !r.Until.After(time.Now()) {
		refused = fault.New(fault.Invalid, "until must be in the future") // a repeat may come later than that
	}
	r.Origin = c.in(r.Room)
	return s.one(ctx, c, refused, r, done)
}

// one does an act on one user, unless refused.
func (s *Service) one(ctx context.Context, c Caller, refused error, command rules.Command, done func(error)) error {
	room := rules.RoomOf(command)
	return s.act(ctx, done, func(ctx context.Context) error {
		if refused == nil {
			refused = s.mayModerate(ctx, c, room)
		}
		o, err := s.do(ctx, c.keyed(command), refused)
		if err != nil || !o.Changed {
			return err
		}
		switch command := command.(type) {
		case rules.Remove:
			s.evict(ctx, room, []chat.UserID{command.Who}, o.Seq)
		case rules.Restrict:
			s.evict(ctx, room, []chat.UserID{command.Who}, o.Seq)
		case rules.SetRole:
			s.evict(ctx, room, []chat.UserID{command.Who}, 0) // it stays
		}
		return nil
	})
}

// evict has everybody know at once that users stand to a room otherwise than before; seq is that of the event which took them out, 0
// where none did.
func (s *Service) evict(ctx context.Context, room chat.RoomID, users []chat.UserID, seq uint64) {
	if len(users) == 0 {
		return
	}
	for _, user := range users {
		s.standings.Forget(chat.Membership{Room: room, User: user})
		s.typing.StopUser(room, user)
	}
	s.evictor.Evict(ctx, room, users, seq)
}

// Forget is called when another replica changed how users stand to a room; no users = the room itself.
func (s *Service) Forget(room chat.RoomID, users []chat.UserID) {
	if len(users) == 0 {
		s.standings.ForgetRoom(room)
	}
	for _, user := range users {
		s.standings.Forget(chat.Membership{Room: room, User: user})
	}
}

func checkTargets(users []chat.UserID, role access.Role) error {
	switch {
	case len(users) == 0:
		return fault.New(fault.Invalid, "userIds must not be empty")
	case len(users) > maxTargets:
		return fault.Newf(fault.TooLarge, "userIds must have at most %d entries", maxTargets)
	case !role.Valid():
		return fault.New(fault.Invalid, "role must be owner, moderator or member")
	}
	return nil
}

func checkWhy(why string) error {
	if utf8.RuneCountInString(why) > maxWhy {
		return fault.Newf(fault.TooLarge, "reason must have at most %d characters", maxWhy)
	}
	return chat.CheckText("reason", why)
}
