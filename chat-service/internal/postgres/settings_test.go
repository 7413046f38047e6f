package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestRoomDetails: what is decided of a room is what is read afterwards, and what the next commands go by.
func TestRoomDetails(t *testing.T) {
	s := open(t, database(t))
	const room = chat.RoomID("r")
	settings := chat.Settings{Send: access.RoleModerator, SlowMode: 1500 * time.Millisecond, MaxMembers: 3}
	commit(t, s, chat.Create{
		Origin: by(room, "ann"), New: chat.NewRoom{Kind: access.Public, Settings: settings},
		Members: []chat.Invited{{User: "bob"}},
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
	refused := func(want string, c chat.Command) {
		t.Helper()
		outcomes, _ := commit(t, s, c)
		if got := faulttest.Word(outcomes[0].Err); got != want {
			t.Errorf("%T = %s, want %s", c, got, want)
		}
	}
	refused("forbidden not_allowed", send(room, "bob", "x", ""))
	refused("ok", join(room, "cid"))
	refused("forbidden room_full", join(room, "dan"))
	update := chat.Update{Origin: by(room, "ann"), IfVersion: 1, Patch: chat.Patch{
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

	outcomes, _ = commit(t, s, chat.Archive{Origin: by(room, "ann")})
	if _, _, version, archived := about("eve"); outcomes[0].Err != nil || version != 3 || !archived {
		t.Errorf("archived = %+v, version %d, %v", outcomes[0], version, archived)
	}
	refused("forbidden archived", send(room, "ann", "x", ""))
	refused("forbidden archived", join(room, "eve"))
	refused("ok", send(room, "bob", "x", "c"))
	seqs(t, s, room)
}
