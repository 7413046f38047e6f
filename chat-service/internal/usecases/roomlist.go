package usecases

import (
	"context"
	"slices"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

const maxRoomsPage = 200

// ListedRoom is a room in the list of all of them.
type ListedRoom struct {
	chat.RoomInfo

	Head uint64
}

// RoomsPage selects rooms, by their ids.
type RoomsPage struct {
	After chat.RoomID   // only rooms behind this one
	Kinds []access.Kind // none = all kinds
	Limit int
}

// AllRooms lists the rooms that there are, for a backend as itself. more tells that there are others behind them. A limit of 0 means 200, and
// more than that never come.
func (s *Service) AllRooms(ctx context.Context, page RoomsPage) (rooms []ListedRoom, more bool, err error) {
	kinds := []access.Kind{access.Public, access.Private, access.Direct}
	for _, kind := range page.Kinds {
		if !slices.Contains(kinds, kind) {
			return nil, false, fault.New(fault.Invalid, "kinds must be public, private or direct")
		}
	}
	if len(page.Kinds) == 0 {
		page.Kinds = kinds
	}
	if page.Limit <= 0 || page.Limit > maxRoomsPage {
		page.Limit = maxRoomsPage
	}
	rooms, err = s.store.AllRooms(ctx, page)
	if more = len(rooms) > page.Limit; more {
		rooms = rooms[:page.Limit]
	}
	return rooms, more, err
}
