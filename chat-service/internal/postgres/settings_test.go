package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestRoomDetails: what is decided of a room is what is read afterwards, and what the next commands go by.
func TestRoomDetails(t *testing.T) {
	s := open(t, database(t))
	const room = chat.RoomID("r")
	settings := chat.Settings{Send: access.RoleModerator, SlowMode: 1500 * time.Millisecond, MaxMembers: 3}
	commit(t, s, rules.Create{
		Origin: by(room, "ann"), New: chat.NewRoom{Kind: access.Public, Settings: settings},
		Members: []rules.Invited{{User: "bob"}},
	})
	about := func(user chat.UserID) (chat.Profile, chat.Settings, uint64, bool) {
		t.Helper()
		info, standing, err := s.Room(t.Context(), chat.Membership{Room: room, User: user}, 0)
		if err != nil || standing.Send != info.Settings.Send || standing.Archived == info.ArchivedAt.IsZero() {
			t.Fatalf("room = %+v, standing %+v, %v", info, standing, err)
		}
		return info.Profile, info.Settings, info.Version, standing.Archived
	}
	if _, got, version, _ := about("bob"); got != settings || version != 1 {
		t.Errorf("a new room has %+v, version %d", got, version)
	}
	refused := func(want string, c rules.Command) {
		t.Helper()
		outcomes, _ := commit(t, s, c)
		if got := faulttest.Word(outcomes[0].Err); got != want {
			t.Errorf("%T = %s, want %s", c, got, want)
		}
	}
	refused("forbidden not_allowed", send(room, "bob", "x", ""))
	refused("ok", join(room, "cid"))
	refused("forbidden room_full", join(room, "dan"))
	update := rules.Update{Origin: by(room, "ann"), IfVersion: 1, Patch: chat.Patch{
		Name: new("Plans"), Data: new([]byte(`{"a":1}`)), Send: new(access.Role("")), SlowMode: new(time.Hour), MaxMembers: new(0),
	}}
	outcomes, _ := commit(t, s, update)
	if outcomes[0].Err != nil || outcomes[0].Version != 2 {
		t.Errorf("update = %+v", outcomes[0])
	}
	refused("conflict changed", update)
	profile, got, version, _ := about("bob")
	if diff := cmp.Diff(chat.Profile{Name: "Plans", Data: []byte(`{"a":1}`)}, profile) + cmp.Diff(chat.Settings{SlowMode: time.Hour}, got); diff != "" || version != 2 {
		t.Errorf("after the update, version %d:\n%s", version, diff)
	}
	refused("ok", join(room, "dan"))

	// Slow mode: for who leaves and comes again as well; a repeat gets the first answer all the same.
	first, _ := commit(t, s, send(room, "bob", "x", "c"))
	outcomes, _ = commit(t, s, send(room, "bob", "y", "d"), send(room, "bob", "x", "c"), leave(room, "bob"), join(room, "bob"), send(room, "bob", "y", ""))
	words := []string{faulttest.Word(outcomes[0].Err), faulttest.Word(outcomes[1].Err), faulttest.Word(outcomes[4].Err)}
	if diff := cmp.Diff([]string{"rate_limited slow_mode", "ok", "rate_limited slow_mode"}, words); diff != "" || outcomes[1].ID != first[0].ID || outcomes[1].Changed {
		t.Errorf("slow mode (-want +got):\n%sthe repeat is %+v, want %+v", diff, outcomes[1], first[0])
	}
	if f, ok := errors.AsType[*fault.Error](outcomes[0].Err); !ok || f.RetryAfter <= 59*time.Minute || f.RetryAfter > time.Hour {
		t.Errorf("to wait: %v", outcomes[0].Err)
	}
	commit(t, s, leave(room, "bob"))
	commit(t, s, join(room, "bob"))
	refused("rate_limited slow_mode", send(room, "bob", "y", ""))
	refused("ok", send(room, "ann", "x", ""))
	refused("ok", send(room, "ann", "x", ""))

	outcomes, _ = commit(t, s, rules.Archive{Origin: by(room, "ann")})
	if _, _, version, archived := about("eve"); outcomes[0].Err != nil || version != 3 || !archived {
		t.Errorf("archived = %+v, version %d, %v", outcomes[0], version, archived)
	}
	refused("forbidden archived", send(room, "ann", "x", ""))
	refused("forbidden archived", join(room, "eve"))
	refused("ok", send(room, "bob", "x", "c"))
	seqs(t, s, room)
}

// TestDeletedRoom: nothing of it is told any more, what is stored of it goes in the end, and its id stays taken.
func TestDeletedRoom(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	const room = chat.RoomID("r")
	commit(t, s, rules.Create{Origin: by(room, "ann"), New: chat.NewRoom{Kind: access.Public}, Members: []rules.Invited{{User: "bob"}}})
	for range 7 {
		var sends []rules.Command
		for range 150 {
			sends = append(sends, send(room, "bob", "x", ""))
		}
		commit(t, s, sends...)
	}
	commit(t, s, rules.SetPrefs{Origin: by(room, "bob"), Muted: new(true)},
		rules.Invite{Origin: by(room, "ann"), Hash: chat.HashInvite("i"), Role: access.RoleMember, Uses: 1, Until: time.Now().Add(time.Hour)})
	outcomes, out := commit(t, s, rules.Delete{Origin: by(room, "ann")})
	if outcomes[0].Err != nil || len(out.Events) != 1 {
		t.Fatalf("delete = %+v, %d events", outcomes[0], len(out.Events))
	}
	refused := func(want string, c rules.Command) {
		t.Helper()
		outcomes, _ := commit(t, s, c)
		if got := faulttest.Word(outcomes[0].Err); got != want {
			t.Errorf("%T = %s, want %s", c, got, want)
		}
	}
	check := func() {
		t.Helper()
		refused("not_found", join(room, "eve"))
		refused("not_found", send(room, "bob", "x", ""))
		refused("conflict exists", rules.Create{Origin: by(room, "ann"), New: chat.NewRoom{Kind: access.Public}})
		one, _, err := s.Standing(t.Context(), chat.Membership{Room: room, User: "ann"})
		if got := faulttest.Word(one.Refuse(access.Look, time.Now())); got != "not_found" || err != nil {
			t.Errorf("a deleted room is looked at: %s, %v", got, err)
		}
		if rooms, err := s.Rooms(t.Context(), "bob", usecases.RoomsPage{Limit: 9}); err != nil || len(rooms.List) != 0 {
			t.Errorf("rooms = %+v, %v", rooms, err)
		}
		if heads, err := s.Heads(t.Context(), []chat.RoomID{room}, "bob"); err != nil || len(heads) != 0 {
			t.Errorf("heads for a member = %+v, %v", heads, err)
		}
	}
	check()
	seqs(t, s, room) // a gateway that was cut off can still read the log
	if n, err := s.Purge(t.Context(), time.Hour); n != 0 || err != nil {
		t.Errorf("purged before it is due: %d, %v", n, err)
	}
	if n, err := s.Purge(t.Context(), 0); n != 1 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	if n, err := s.Purge(t.Context(), 0); n != 0 || err != nil {
		t.Errorf("purged again: %d, %v", n, err)
	}
	conn, err := pgx.Connect(t.Context(), cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, table := range []string{"messages", "room_events", "receipts", "restrictions", "memberships", "room_prefs", "invites"} {
		var n int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM chat.`+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s has %d rows, %v", table, n, err)
		}
	}
	check()
}
