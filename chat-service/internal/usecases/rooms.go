package usecases

import (
	"context"
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of reading.
const (
	joinHistory    = 50   // messages that a joiner gets without since
	maxJoinHistory = 500  // with since
	maxHistoryPage = 100  // of message:history
	maxEventsPage  = 1000 // of Events
	maxHeads       = 1000
	maxCandidates  = 500 // of Roommates
	joinReads      = 3   // reads of the room before a join gives up; two suffice unless the membership ends meanwhile
)

// JoinRequest is what a socket asks for that enters a room.
type JoinRequest struct {
	Room  chat.RoomID
	Since *uint64 // history after this sequence, instead of the last 50
	Limit int     // of the history after Since; 0 = 500

	Invite string // that lets the caller in; "" = none
}

// Join makes the caller a member, if it is not one already, and reads what the socket has to see first: head, role
// and history in one snapshot. For a member it is one round trip to the database and writes nothing.
func (s *Service) Join(ctx context.Context, c Caller, r JoinRequest) (View, error) {
	page := Page{Limit: joinHistory, Granted: c.granted(r.Room)}
	if r.Since != nil {
		page.After, page.Limit = r.Since, maxJoinHistory
		if r.Limit > 0 {
			page.Limit = min(r.Limit, maxJoinHistory)
		}
	}
	for range joinReads {
		view, err := s.store.View(ctx, r.Room, c.User, page)
		if err != nil {
			return View{}, err
		}
		join, refused := rules.Join{Origin: c.in(r.Room)}, view.Refuse(access.Enter, time.Now())
		switch {
		case r.Invite != "" && !view.Counts() && !view.BannedUntil.After(time.Now()):
			if err := s.invited(ctx, &join, r.Invite, refused); err != nil {
				return View{}, err
			}
		case !view.Exists && !chat.IsDirectID(r.Room) && !c.User.Guest():
			join.Create = s.cfg.Autocreate
		}
		if refused != nil && join.Create == "" && join.Inviter == "" {
			return View{}, refused
		}
		if view.Counts() {
			view.fit(maxJoinWeight, page.After != nil)
			view.Typing = s.typing.Typists(r.Room, c.User)
			return view, s.showMine(ctx, c, r.Room, view.Messages)
		}
		if _, err := s.writer.Do(ctx, join); err != nil {
			return View{}, err
		}
		s.standings.Forget(c.of(r.Room))
	}
	return View{}, fault.New(fault.Conflict, "The membership changed meanwhile")
}

// Leave ends the caller's membership and tells the others; successor owns the room after it, if it is given. Leaving a room that one is not in is fine.
func (s *Service) Leave(c Caller, room chat.RoomID, successor chat.UserID, done func(error)) error {
	s.typing.StopUser(room, c.User)
	return s.writer.Submit(c.keyed(rules.Leave{Origin: c.in(room), Successor: successor}), func(o rules.Outcome) {
		s.standings.Forget(c.of(room))
		done(o.Err)
	})
}

// LeaveByCall is Leave for a caller that asks on no socket: when it is done, no gateway delivers anything of the room to the caller.
func (s *Service) LeaveByCall(ctx context.Context, c Caller, room chat.RoomID, successor chat.UserID, done func(error)) error {
	return s.act(ctx, done, func(ctx context.Context) error {
		o, err := s.do(ctx, c.keyed(rules.Leave{Origin: c.in(room), Successor: successor}), nil)
		if err == nil && o.Changed {
			s.evict(ctx, room, []chat.UserID{c.User}, o.Seq)
		}
		return err
	})
}

// History reads a page of messages for who may read the room, oldest first. A limit of 0 means 50; at most 100 come.
func (s *Service) History(ctx context.Context, c Caller, room chat.RoomID, page Page) (View, error) {
	page.Limit, page.Granted = pageLimit(page.Limit, maxHistoryPage), c.granted(room)
	if page.Around != nil {
		return s.around(ctx, c, room, page)
	}
	view, err := s.store.View(ctx, room, c.User, page)
	if err == nil {
		err = view.Refuse(access.Read, time.Now())
	}
	if err != nil {
		return View{}, err
	}
	view.fit(maxPageWeight, page.After != nil)
	return view, s.showMine(ctx, c, room, view.Messages)
}

// Members lists the users of a room for who may read it.
func (s *Service) Members(ctx context.Context, c Caller, room chat.RoomID) ([]chat.UserID, error) {
	if _, err := s.may(ctx, c, room, access.Read); err != nil {
		return nil, err
	}
	return s.store.Members(ctx, room)
}

// Roommates gives those of some users who share a room with the caller.
func (s *Service) Roommates(ctx context.Context, c Caller, users []chat.UserID) ([]chat.UserID, error) {
	if len(users) > maxCandidates {
		return nil, fault.Newf(fault.Invalid, "candidate_ids must have at most %d entries", maxCandidates)
	}
	if len(users) == 0 {
		return nil, nil
	}
	var opened []chat.RoomID
	if len(c.Grants) > 0 {
		rooms, err := s.store.TokenRooms(ctx, c.User)
		if err != nil {
			return nil, err
		}
		opened = slices.DeleteFunc(rooms, func(room chat.RoomID) bool { return !c.granted(room).MayCount() })
	}
	return s.store.Roommates(ctx, c.User, users, opened)
}
