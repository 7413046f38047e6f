package usecases

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of a list of members.
const (
	maxMembersPage  = 200
	maxMembersQuery = 64 // characters
)

// Member is somebody in a room.
type Member struct {
	User     chat.UserID
	Name     string
	Role     access.Role
	JoinedAt time.Time
}

// MembersPage selects members of a room.
type MembersPage struct {
	After chat.UserID // only users behind this one in the order of the list; "" = from its start
	Query string      // only users with this in their name or id, whatever the case; "" = all
	Only  chat.UserID // only this one; "" = all
	Limit int
}

// MemberList is a page of a room's members, in one snapshot.
type MemberList struct {
	List    []Member // by user
	HasMore bool
	Count   int // of all pages
}

// MemberList lists the members for who may read the room. A limit of 0 means 200, the most.
func (s *Service) MemberList(ctx context.Context, c Caller, room chat.RoomID, page MembersPage) (MemberList, error) {
	if page.Limit <= 0 || page.Limit > maxMembersPage {
		page.Limit = maxMembersPage
	}
	if utf8.RuneCountInString(page.Query) > maxMembersQuery {
		return MemberList{}, fault.Newf(fault.TooLarge, "query must have at most %d characters", maxMembersQuery)
	}
	for field, text := range map[string]string{"after": string(page.After), "query": page.Query} {
		if err := chat.CheckText(field, text); err != nil {
			return MemberList{}, err
		}
	}
	if _, err := s.may(ctx, c, room, access.Read); err != nil {
		return MemberList{}, err
	}
	return s.store.MemberList(ctx, room, page)
}

// Member tells who may read the room about one of its members.
func (s *Service) Member(ctx context.Context, c Caller, room chat.RoomID, user chat.UserID) (Member, error) {
	list, err := s.MemberList(ctx, c, room, MembersPage{Only: user, Limit: 1})
	if err != nil {
		return Member{}, err
	}
	if len(list.List) == 0 {
		return Member{}, fault.New(fault.NotFound, "The user is no member of this room")
	}
	return list.List[0], nil
}
