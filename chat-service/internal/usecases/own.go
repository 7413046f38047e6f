package usecases

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of blocks and invites.
const (
	maxBlocked    = 1000 // users whom one user blocks
	maxOwnPage    = 200  // of either in a list
	maxInvites    = 100  // of a room, at the same time
	maxUses       = 10_000
	maxInviteLife = 30 * 24 * time.Hour
	inviteLife    = 7 * 24 * time.Hour // where nothing is said
)

// Own is what a room is to one of its members.
type Own struct {
	Marker chat.Marker
	Prefs  chat.Prefs
}

// Own reads what a room is to a member of it.
func (s *Service) Own(ctx context.Context, c Caller, room chat.RoomID) (Own, error) {
	return s.store.Own(ctx, c.of(room))
}

// SetPrefs changes how the caller wants a room shown, on all devices.
func (s *Service) SetPrefs(c Caller, p rules.SetPrefs, done func(error)) error {
	p.Origin = c.in(p.Room)
	return s.writer.Submit(c.keyed(p), func(o rules.Outcome) { done(o.Err) })
}

// Block has the caller block another user, or ends that.
func (s *Service) Block(ctx context.Context, c Caller, who chat.UserID, end bool) error {
	if who == c.User {
		return rules.ErrSelfBlock()
	}
	var refused error
	if !end {
		refused = s.mayBlock(ctx, c)
	}
	both := sortedPair(c.User, who)
	room := chat.DirectID(both)
	o, err := s.do(ctx, c.keyed(rules.Block{Origin: c.in(room), Who: who, End: end}), refused)
	if err != nil || !o.Changed {
		return err
	}
	s.Forget(room, both)
	// The other replicas forget as well: what they remember ends soon by itself, so nobody waits for them, and where too many acts are under way
	// that has to do.
	_ = s.act(ctx, func(error) {}, func(ctx context.Context) error {
		s.evict(ctx, room, both, 0) // both stay
		return nil
	})
	return nil
}

// mayBlock refuses who blocks as many users as one may.
func (s *Service) mayBlock(ctx context.Context, c Caller) error {
	n, err := s.store.CountBlocks(ctx, c.User, maxBlocked)
	if err == nil && n >= maxBlocked {
		err = fault.Newf(fault.TooLarge, "At most %d users can be blocked", maxBlocked)
	}
	return err
}

// Blocked is a user whom another one blocks.
type Blocked struct {
	User chat.UserID
	At   time.Time // when it was blocked
}

// Blocks lists whom the caller blocks, by user id, behind a user. more tells that there are others behind them. A limit of 0 means 200, the most.
func (s *Service) Blocks(ctx context.Context, c Caller, after chat.UserID, limit int) (list []Blocked, more bool, err error) {
	if err := chat.CheckText("after", string(after)); err != nil {
		return nil, false, err
	}
	limit = listLimit(limit)
	list, err = s.store.Blocks(ctx, c.User, after, limit+1)
	return list[:min(len(list), limit)], len(list) > limit, err
}

func listLimit(asked int) int {
	if asked <= 0 || asked > maxOwnPage {
		return maxOwnPage
	}
	return asked
}

func sortedPair(a, b chat.UserID) []chat.UserID {
	if b < a {
		a, b = b, a
	}
	return []chat.UserID{a, b}
}

// InviteRequest is an invite to make.
type InviteRequest struct {
	Room chat.RoomID
	Uses int           // 0 = once
	Life time.Duration // 0 = inviteLife
	Role access.Role   // "" = member
}

func (r *InviteRequest) check() error {
	switch {
	case r.Uses < 0 || r.Uses > maxUses:
		return fault.Newf(fault.Invalid, "uses must be 1 to %d", maxUses)
	case r.Life < 0 || r.Life > maxInviteLife:
		return fault.Newf(fault.Invalid, "expiresInMs must be 1 to %d", maxInviteLife.Milliseconds())
	case r.Role != "" && !r.Role.Valid():
		return fault.New(fault.Invalid, "role must be owner, moderator or member")
	}
	return nil
}

// Invite makes an invite by which others join a room, and tells until when. It is kept nowhere.
func (s *Service) Invite(ctx context.Context, c Caller, r InviteRequest) (invite string, until time.Time, err error) {
	if err = r.check(); err != nil {
		return "", until, err
	}
	command := rules.Invite{Origin: c.in(r.Room), Role: r.Role, Uses: max(r.Uses, 1)}
	_, _ = rand.Read(command.Salt[:]) // never fails
	command.Hash = chat.HashInvite(chat.InviteOf(command.Salt, c.RequestKey))
	if command.Role == "" {
		command.Role = access.RoleMember
	}
	life := r.Life
	if life == 0 {
		life = inviteLife
	}
	command.Until = time.Now().Add(life).UTC().Truncate(time.Millisecond)
	o, err := s.do(ctx, c.keyedAs(r.Room, r, command), s.mayInvite(ctx, c, r.Room))
	if err != nil {
		return "", until, err
	}
	return chat.InviteOf(o.Details.Salt, c.RequestKey), o.Details.Until, nil
}

// mayInvite refuses who is no moderator, with the room's own answer to a stranger, and a room that has as many invites as it may have.
func (s *Service) mayInvite(ctx context.Context, c Caller, room chat.RoomID) error {
	if err := s.mayModerate(ctx, c, room); err != nil {
		return err
	}
	n, err := s.store.CountInvites(ctx, room)
	if err == nil && n >= maxInvites {
		err = fault.Newf(fault.TooLarge, "A room has at most %d invites at the same time", maxInvites)
	}
	return err
}

// Invites lists for a moderator the invitations to a room, by their ids, behind one. more tells that there are others behind them. A limit of 0
// means 200, the most.
func (s *Service) Invites(ctx context.Context, c Caller, room chat.RoomID, after chat.InviteHash, limit int) (list []chat.Invitation, more bool, err error) {
	if err := s.mayModerate(ctx, c, room); err != nil {
		return nil, false, err
	}
	limit = listLimit(limit)
	list, err = s.store.Invites(ctx, room, after, limit+1)
	return list[:min(len(list), limit)], len(list) > limit, err
}

// RevokeInvite ends an invitation to a room. When it is done, nobody comes in by it.
func (s *Service) RevokeInvite(ctx context.Context, c Caller, room chat.RoomID, hash chat.InviteHash, done func(error)) error {
	return s.one(ctx, c, nil, rules.RevokeInvite{Origin: c.in(room), Hash: hash}, done)
}

// invited adds the invitation to a join that shows an invite. refused is what the room says without one.
func (s *Service) invited(ctx context.Context, join *rules.Join, invite string, refused error) error {
	hash := chat.HashInvite(invite)
	i, ok, err := s.store.Invitation(ctx, hash)
	switch {
	case err != nil:
		return err
	case ok && i.Room == join.Room:
		join.Invite, join.Inviter = hash, i.By
	case refused != nil:
		return rules.ErrInvite()
	}
	return nil
}
