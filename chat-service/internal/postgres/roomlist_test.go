package postgres_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// TestAllRooms: the pages have each room of the kinds once, by id, and none that is deleted.
func TestAllRooms(t *testing.T) {
	s := open(t, database(t))
	var want []chat.RoomID
	for i := range 9 {
		room, kind := chat.RoomID(fmt.Sprint("r", i)), []access.Kind{access.Public, access.Private}[i%2]
		commit(t, s, chat.Create{Origin: by(room, "ann"), New: chat.NewRoom{Kind: kind}, Members: []chat.Invited{{User: "bob"}}})
		if i == 4 {
			commit(t, s, chat.Delete{Origin: by(room, "ann")})
			continue
		}
		want = append(want, room)
	}
	page := usecases.RoomsPage{Kinds: []access.Kind{access.Public, access.Private}, Limit: 3}
	var got []chat.RoomID
	for {
		rooms, err := s.AllRooms(t.Context(), page)
		if err != nil || len(rooms) == 0 || len(rooms) > page.Limit+1 {
			t.Fatalf("AllRooms(%+v) = %d rooms, %v", page, len(rooms), err)
		}
		more := len(rooms) > page.Limit
		for _, r := range rooms[:min(len(rooms), page.Limit)] {
			info, _, err := s.Room(t.Context(), chat.Membership{Room: r.Room, User: "ann"}, 0)
			if err != nil || r.Kind != info.Kind || r.Members != 2 || r.Version != info.Version || !r.CreatedAt.Equal(info.CreatedAt) || r.Head == 0 {
				t.Errorf("listed %+v, want %+v, %v", r, info, err)
			}
			got = append(got, r.Room)
		}
		if !more {
			break
		}
		page.After = got[len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("rooms = %v, want %v", got, want)
	}
	page = usecases.RoomsPage{Kinds: []access.Kind{access.Private}, Limit: 2, After: "r1"}
	if rooms, err := s.AllRooms(t.Context(), page); err != nil || len(rooms) != 3 || rooms[0].Room != "r3" {
		t.Errorf("private rooms = %+v, %v", rooms, err)
	}
}
