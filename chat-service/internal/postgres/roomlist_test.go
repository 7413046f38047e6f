package postgres_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// TestRoomPages: pages of any size give every room once and in the order of the whole list, also among rooms that were active at the same time
// or never; each with what it is to the user.
func TestRoomPages(t *testing.T) {
	s := open(t, database(t))
	var sends []rules.Command
	for i := range 7 {
		room := chat.RoomID(fmt.Sprint("r", i))
		kind := access.Public
		if i%2 == 1 {
			kind = access.Private
		}
		commit(t, s, rules.Create{Origin: by(room, "ann"), New: chat.NewRoom{Kind: kind}})
		if i >= 3 {
			sends = append(sends, send(room, "ann", "x", ""))
		}
	}
	outcomes, _ := commit(t, s, sends...) // all at the same time
	commit(t, s, send("r5", "ann", "later", ""))
	if _, err := s.MarkRead(t.Context(), []usecases.Receipt{{Membership: chat.Membership{Room: "r3", User: "ann"}, Message: outcomes[0].ID}}); err != nil {
		t.Fatal(err)
	}
	commit(t, s, rules.SetPrefs{Origin: by("r3", "ann"), Pinned: new(true)})
	pages := func(limit int, kinds ...access.Kind) (ids []chat.RoomID) {
		t.Helper()
		page := usecases.RoomsPage{Limit: limit, Kinds: kinds}
		for range 8 {
			l, err := s.Rooms(t.Context(), "ann", page)
			if err != nil || l.Useq != 8 || len(l.List) > limit {
				t.Fatalf("a page of %d: %d rooms, useq %d, %v", limit, len(l.List), l.Useq, err)
			}
			for _, r := range l.List {
				ids = append(ids, r.Room)
			}
			if l.Next == (usecases.RoomsCursor{}) {
				break
			}
			page.After = l.Next
		}
		return ids
	}
	want := []chat.RoomID{"r5", "r3", "r4", "r6", "r0", "r1", "r2"}
	for limit := 1; limit <= 8; limit++ {
		if diff := cmp.Diff(want, pages(limit)); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
		}
	}
	if diff := cmp.Diff([]chat.RoomID{"r5", "r3", "r1"}, pages(2, access.Private, access.Direct)); diff != "" {
		t.Errorf("private rooms (-want +got):\n%s", diff)
	}
	all, err := s.Rooms(t.Context(), "ann", usecases.RoomsPage{Limit: 9})
	if err != nil {
		t.Fatal(err)
	}
	r3 := all.List[slices.IndexFunc(all.List, func(r usecases.RoomSummary) bool { return r.Room == "r3" })]
	if r3.Kind != access.Private || r3.Role != access.RoleOwner || r3.Own != (usecases.Own{Marker: chat.Marker{Seq: outcomes[0].Seq, N: 1}, Prefs: chat.Prefs{Pinned: true}}) {
		t.Errorf("r3 = %+v", r3)
	}
	if none, err := s.Rooms(t.Context(), "eve", usecases.RoomsPage{Limit: 9}); err != nil || len(none.List) != 0 || none.Useq != 0 {
		t.Errorf("of who has no rooms: %+v, %v", none, err)
	}
}

// TestAllRooms: the pages have each room of the kinds once, by id, and none that is deleted.
func TestAllRooms(t *testing.T) {
	s := open(t, database(t))
	var want []chat.RoomID
	for i := range 9 {
		room, kind := chat.RoomID(fmt.Sprint("r", i)), []access.Kind{access.Public, access.Private}[i%2]
		commit(t, s, rules.Create{Origin: by(room, "ann"), New: chat.NewRoom{Kind: kind}, Members: []rules.Invited{{User: "bob"}}})
		if i == 4 {
			commit(t, s, rules.Delete{Origin: by(room, "ann")})
			continue
		}
		want = append(want, room)
	}
	page := usecases.AllRoomsPage{Kinds: []access.Kind{access.Public, access.Private}, Limit: 3}
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
	page = usecases.AllRoomsPage{Kinds: []access.Kind{access.Private}, Limit: 2, After: "r1"}
	if rooms, err := s.AllRooms(t.Context(), page); err != nil || len(rooms) != 3 || rooms[0].Room != "r3" {
		t.Errorf("private rooms = %+v, %v", rooms, err)
	}
}
