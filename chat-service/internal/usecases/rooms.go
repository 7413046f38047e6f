package usecases

import (
	"context"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
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
}

// Join makes the caller a member, if it is not one already, and reads what the socket has to see first: head, role
// and history in one snapshot. For a member it is one round trip to the database and writes nothing.
func (s *Service) Join(ctx context.Context, c Caller, r JoinRequest) (View, error) {
	page := Page{Limit: joinHistory}
	if r.Since != nil {
		page = Page{After: r.Since, Limit: maxJoinHistory}
		if r.Limit > 0 {
			page.Limit = min(r.Limit, maxJoinHistory)
		}
	}
	for range joinReads {
		view, err := s.store.View(ctx, r.Room, c.User, page)
		if err != nil {
			return View{}, err
		}
		join := chat.Join{Origin: c.in(r.Room)}
		if !view.Exists && !chat.IsDirectID(r.Room) {
			join.Create = s.cfg.Autocreate
		}
		if err := view.Refuse(access.Enter, time.Now()); err != nil && join.Create == "" {
			return View{}, err
		}
		if view.Member {
			view.fit(maxJoinWeight, page.After != nil)
			view.Typing = s.typing.Typists(r.Room, c.User)
			return view, nil
		}
		if _, err := s.writer.Do(ctx, join); err != nil {
			return View{}, err
		}
		s.members.forget(chat.Membership{Room: r.Room, User: c.User})
	}
	return View{}, fault.New(fault.Conflict, "The membership changed meanwhile")
}

// Leave ends the caller's membership and tells the others; successor owns the room after it, if it is given. Leaving a room that one is not in is fine.
func (s *Service) Leave(c Caller, room chat.RoomID, successor chat.UserID, done func(error)) error {
	s.typing.StopUser(room, c.User)
	return s.writer.Submit(chat.Leave{Origin: c.in(room), Successor: successor}, func(o chat.Outcome) {
		s.members.forget(chat.Membership{Room: room, User: c.User})
		done(o.Err)
	})
}

// History reads a page of messages for a member, oldest first. A limit of 0 means 50; at most 100 come.
func (s *Service) History(ctx context.Context, user chat.UserID, room chat.RoomID, page Page) (View, error) {
	page.Limit = pageLimit(page.Limit, maxHistoryPage)
	view, err := s.store.View(ctx, room, user, page)
	if err == nil {
		err = view.Refuse(access.Read, time.Now())
	}
	if err != nil {
		return View{}, err
	}
	view.fit(maxPageWeight, page.After != nil)
	return view, nil
}

// Rooms lists the user's rooms.
func (s *Service) Rooms(ctx context.Context, user chat.UserID) ([]RoomSummary, error) {
	rooms, err := s.store.Rooms(ctx, user)
	fitRooms(rooms)
	return rooms, err
}

// Members lists the users of a room for one of them.
func (s *Service) Members(ctx context.Context, room chat.RoomID, as chat.UserID) ([]chat.UserID, error) {
	if err := s.members.require(ctx, chat.Membership{Room: room, User: as}, access.Read); err != nil {
		return nil, err
	}
	return s.store.Members(ctx, room)
}

// Roommates gives those of some users who share a room with a user.
func (s *Service) Roommates(ctx context.Context, of chat.UserID, users []chat.UserID) ([]chat.UserID, error) {
	if len(users) > maxCandidates {
		return nil, fault.Newf(fault.Invalid, "candidate_ids must have at most %d entries", maxCandidates)
	}
	if len(users) == 0 {
		return nil, nil
	}
	return s.store.Roommates(ctx, of, users)
}

// Events reads durable events for a gateway: those after a sequence, up to another one (0 = the head), without holes.
// A limit of 0 means 1000.
func (s *Service) Events(ctx context.Context, room chat.RoomID, after, to uint64, limit int) ([]chat.EncodedEvent, uint64, error) {
	if limit <= 0 || limit > maxEventsPage {
		limit = maxEventsPage
	}
	return s.store.Events(ctx, room, after, to, limit)
}

// Heads reads the last sequence of each room; unknown rooms are left out, and those that the user, if given, is no member
// of.
func (s *Service) Heads(ctx context.Context, rooms []chat.RoomID, as chat.UserID) (map[chat.RoomID]uint64, error) {
	if len(rooms) > maxHeads {
		return nil, fault.Newf(fault.Invalid, "roomIds must have at most %d entries", maxHeads)
	}
	if len(rooms) == 0 {
		return map[chat.RoomID]uint64{}, nil
	}
	return s.store.Heads(ctx, rooms, as)
}
