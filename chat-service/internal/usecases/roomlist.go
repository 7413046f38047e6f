package usecases

import (
	"context"
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of lists of rooms.
const (
	maxRooms     = 1000 // of who asks for no pages
	MaxRoomsPage = 200
)

// RoomsPage selects rooms of a user.
type RoomsPage struct {
	After RoomsCursor
	Kinds []access.Kind // only rooms of these kinds; none = of all
	Limit int           // 0 = as many as are given to who asks for no pages
	Short bool          // of messages no more is told than a preview
}

// RoomsCursor is a place in a list of rooms: behind one of them. Zero is the list's start.
type RoomsCursor struct {
	Active time.Time // when something was said there last; the epoch = never
	Room   chat.RoomID
}

// RoomList is a page of a user's rooms, in one snapshot.
type RoomList struct {
	List []RoomSummary // the last active first
	Next RoomsCursor   // where the next page begins; zero = this is the last one
	Useq uint64        // of the user's log: what it tells after that is not in the list yet
}

// Rooms lists the caller's rooms. A page has fewer of them than there may be where tokens have opened some that this one does not.
func (s *Service) Rooms(ctx context.Context, c Caller, page RoomsPage) (RoomList, error) {
	if err := listed(page.Kinds); err != nil {
		return RoomList{}, err
	}
	if page.Limit = min(page.Limit, MaxRoomsPage); page.Limit <= 0 {
		page.Limit = maxRooms
	}
	rooms, err := s.store.Rooms(ctx, c.User, page)
	rooms.List = slices.DeleteFunc(rooms.List, func(r RoomSummary) bool { return r.ByToken && !c.granted(r.Room).MayCount() })
	if !page.Short {
		fitRooms(rooms.List)
	}
	return rooms, err
}

// ListedRoom is a room in the list of all of them.
type ListedRoom struct {
	chat.RoomInfo

	Head uint64
}

// AllRoomsPage selects rooms of all users, by their ids.
type AllRoomsPage struct {
	After chat.RoomID   // only rooms behind this one
	Kinds []access.Kind // none = all kinds
	Limit int           // 0 = MaxRoomsPage
}

// AllRooms lists the rooms that there are, for a backend as itself. more tells that there are others behind them.
func (s *Service) AllRooms(ctx context.Context, page AllRoomsPage) (rooms []ListedRoom, more bool, err error) {
	if err := listed(page.Kinds); err != nil {
		return nil, false, err
	}
	if len(page.Kinds) == 0 {
		page.Kinds = listedKinds()
	}
	if page.Limit <= 0 || page.Limit > MaxRoomsPage {
		page.Limit = MaxRoomsPage
	}
	rooms, err = s.store.AllRooms(ctx, page)
	if more = len(rooms) > page.Limit; more {
		rooms = rooms[:page.Limit]
	}
	return rooms, more, err
}

// listedKinds is the kinds of rooms that lists have.
func listedKinds() []access.Kind { return []access.Kind{access.Public, access.Private, access.Direct} }

// listed refuses kinds of which there are no lists.
func listed(kinds []access.Kind) error {
	for _, kind := range kinds {
		if !slices.Contains(listedKinds(), kind) {
			return fault.New(fault.Invalid, "kinds must be public, private or direct")
		}
	}
	return nil
}
