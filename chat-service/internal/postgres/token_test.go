package postgres_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// TestMemberByToken: a membership that came by a token counts where the token is there, in every read that asks for memberships, until
// a moderator makes it one of its own.
func TestMemberByToken(t *testing.T) {
	s := open(t, database(t))
	const room, all = "r", access.MayJoin | access.MayRead | access.MaySend
	enter := rules.Join{Origin: by(room, "eve")}
	enter.Granted = all
	commit(t, s, rules.Create{Origin: by(room, "ann"), New: chat.NewRoom{Kind: access.Private}})
	outcomes, _ := commit(t, s, enter, rules.Send{Origin: by(room, "ann"), Content: "hello", Type: "text"})
	message := outcomes[1].ID
	who := chat.Membership{Room: room, User: "eve"}

	// reads lists which reads give eve something, with what its token opens.
	reads := func(granted access.Rights) (some []string) {
		t.Helper()
		note := func(name string, is bool, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if is {
				some = append(some, name)
			}
		}
		after := uint64(0)
		before, err := s.View(t.Context(), room, "eve", usecases.Page{Limit: 5, Granted: granted})
		note("newest", len(before.Messages) > 0, err)
		since, err := s.View(t.Context(), room, "eve", usecases.Page{Limit: 5, After: &after, Granted: granted})
		note("since", len(since.Messages) > 0, err)
		readers, err := s.Readers(t.Context(), who, usecases.ReadersPage{Limit: 5, Granted: granted})
		note("readers", len(readers.List) > 0 && readers.Count > 0, err)
		outcome, err := s.MarkRead(t.Context(), []usecases.Receipt{{Membership: who, Granted: granted, Message: message}})
		note("receipt", outcome[0].Moved, err)
		return some
	}
	if _, err := s.MarkRead(t.Context(), []usecases.Receipt{{Membership: chat.Membership{Room: room, User: "ann"}, Message: message}}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		granted access.Rights
		want    []string
	}{
		{0, nil},
		{access.MaySend, nil},
		{access.MayRead, []string{"newest", "since", "readers"}},
		{all, []string{"newest", "since", "readers", "receipt"}},
		{0, nil},
	} {
		if diff := cmp.Diff(test.want, reads(test.granted)); diff != "" {
			t.Errorf("reads with %b (-want +got):\n%s", test.granted, diff)
		}
	}
	heads, err := s.Heads(t.Context(), []chat.RoomID{room, "nowhere"}, "eve")
	if diff := cmp.Diff(map[chat.RoomID]usecases.Head{room: {Seq: 3, Member: true, ByToken: true}}, heads); err != nil || diff != "" {
		t.Errorf("Heads: %v (-want +got):\n%s", err, diff)
	}
	rooms, err := s.TokenRooms(t.Context(), "eve")
	if err != nil || !slices.Equal(rooms, []chat.RoomID{room}) {
		t.Errorf("TokenRooms = %v, %v", rooms, err)
	}
	for _, opened := range [][]chat.RoomID{nil, {room}} {
		mates, err := s.Roommates(t.Context(), "eve", []chat.UserID{"ann"}, opened)
		if err != nil || len(mates) != len(opened) {
			t.Errorf("Roommates with %v = %v, %v", opened, mates, err)
		}
	}
	list, err := s.Rooms(t.Context(), "eve", usecases.RoomsPage{Limit: 9})
	if err != nil || len(list.List) != 1 || !list.List[0].ByToken {
		t.Errorf("Rooms = %+v, %v, want one by token", list, err)
	}

	add := rules.Add{Origin: by(room, chat.System), Who: rules.Invited{User: "eve", Role: access.RoleMember}}
	add.Granted, add.Key = access.Everything, "crm"
	commit(t, s, add)
	if got := reads(0); !slices.Contains(got, "newest") {
		t.Errorf("reads of who was added = %v, want all of a member", got)
	}
	entries, err := s.Audit(t.Context(), usecases.AuditPage{Room: room, User: "eve", Limit: 5})
	if err != nil || len(entries) != 1 || entries[0].By != chat.System || entries[0].Key != "crm" {
		t.Errorf("Audit = %+v, %v, want what the backend did", entries, err)
	}
	commit(t, s, rules.Restrict{Origin: by(room, "ann"), Who: "zoe", Until: time.Now().Add(time.Hour)})
	banned, err := s.Restricted(t.Context(), room, usecases.RestrictedPage{Limit: 5})
	if err != nil || len(banned) != 1 || banned[0].User != "zoe" {
		t.Errorf("Restricted = %v, %v", banned, err)
	}
}
