package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// TestGuestsInheritNothing: a room whose owner leaves goes to who came later rather than to a guest, and to nobody when only guests are left; the
// owner of a private room leaves guests behind as if nobody were there.
func TestGuestsInheritNothing(t *testing.T) {
	s := open(t, database(t))
	const guest = chat.UserID("guest:0197f000-0000-7000-8000-000000000001")
	commit(t, s, join("r", "ann"))
	joinAs := rules.Join{Origin: by("r", guest)}
	commit(t, s, joinAs)
	commit(t, s, join("r", "bob"))
	if role := roleIn(t, s, "r", guest); role != access.RoleGuest {
		t.Errorf("a guest is %s in a room, want %s", role, access.RoleGuest)
	}
	commit(t, s, leave("r", "ann"))
	if role := roleIn(t, s, "r", "bob"); role != access.RoleOwner {
		t.Errorf("bob is %s when the owner has left, want %s", role, access.RoleOwner)
	}
	commit(t, s, leave("r", "bob"))
	if role := roleIn(t, s, "r", guest); role != access.RoleGuest {
		t.Errorf("a guest is %s when everybody has left, want %s", role, access.RoleGuest)
	}
	commit(t, s, join("r", "cid"))
	if role := roleIn(t, s, "r", "cid"); role != access.RoleOwner {
		t.Errorf("cid is %s in a room of guests, want %s", role, access.RoleOwner)
	}

	commit(t, s, rules.Create{Origin: by("p", "ann"), New: chat.NewRoom{Kind: access.Private}, Members: []rules.Invited{{User: guest, Role: access.RoleMember}}})
	if outcomes, _ := commit(t, s, leave("p", "ann")); outcomes[0].Err != nil {
		t.Errorf("the owner leaves a private room of guests: %v, want nil", outcomes[0].Err)
	}
	if role := roleIn(t, s, "p", guest); role != access.RoleGuest {
		t.Errorf("a guest is %s when the owner has left, want %s", role, access.RoleGuest)
	}
}

// TestForgetGuest: nothing that is a guest's own is left, and all that is others'.
func TestForgetGuest(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	const guest = chat.UserID("guest:0197f000-0000-7000-8000-000000000001")
	for _, user := range []chat.UserID{"ann", guest} {
		for _, room := range []chat.RoomID{"r", "s"} {
			commit(t, s, join(room, "zoe"))
			if outcomes, _ := commit(t, s, rules.Join{Origin: by(room, user)}, send(room, user, "hi", "")); outcomes[0].Err != nil || outcomes[1].Err != nil {
				t.Fatalf("%s joins and sends: %v, %v", user, outcomes[0].Err, outcomes[1].Err)
			}
		}
		commit(t, s, rules.Block{Origin: by(chat.DirectID([]chat.UserID{user, "eve"}), user), Who: "eve"},
			rules.SetPrefs{Origin: by("r", user), Muted: new(true)}, mentioning("s", "zoe", "you there", false, user))
		if _, err := s.MarkRead(t.Context(), []usecases.Receipt{{Membership: chat.Membership{Room: "s", User: user}, BySeq: true, Seq: 1000}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{2, 0} { // the second time nothing is left to do
		rooms, err := s.RoomsToLeave(t.Context(), guest, 10)
		if err != nil || len(rooms) != want {
			t.Fatalf("RoomsToLeave() = %v, %v, want %d", rooms, err, want)
		}
		for _, room := range rooms {
			commit(t, s, rules.Leave{Origin: by(room, guest)})
		}
		if err := errors.Join(s.ForgetIn(t.Context(), guest, rooms), s.Forget(t.Context(), guest)); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := pgx.Connect(t.Context(), cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, table := range []string{"user_events", "user_logs", "user_names", "blocks", "memberships", "receipts", "room_prefs", "mentions"} {
		var guests, others int
		sql := `SELECT count(*) FILTER (WHERE user_id = $1), count(*) FILTER (WHERE user_id = 'ann') FROM chat.` + table
		if err := conn.QueryRow(t.Context(), sql, string(guest)).Scan(&guests, &others); err != nil || guests != 0 || others == 0 {
			t.Errorf("%s has %d rows of the guest and %d of ann, %v, want none and some", table, guests, others, err)
		}
	}
	var messages int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM chat.messages WHERE sender_id = $1`, string(guest)).Scan(&messages); err != nil || messages != 2 {
		t.Errorf("%d messages of the guest are left, %v, want 2", messages, err)
	}
}

// TestHeir: the highest role counts, then who has been there the longest; guests inherit nothing.
func TestHeir(t *testing.T) {
	s := open(t, database(t))
	const guest = chat.UserID("guest:0197f000-0000-7000-8000-000000000001")
	commit(t, s, rules.Create{Origin: by("p", "zoe"), New: chat.NewRoom{Kind: access.Private}, Members: []rules.Invited{{User: guest, Role: access.RoleMember}}})
	heir := func(want chat.UserID) {
		t.Helper()
		if got, err := s.Heir(t.Context(), chat.Membership{Room: "p", User: "zoe"}); err != nil || got != want {
			t.Errorf("Heir() = %q, %v, want %q", got, err, want)
		}
	}
	heir("")
	for _, user := range []chat.UserID{"mia", "ann"} {
		commit(t, s, rules.Add{Origin: by("p", "zoe"), Who: rules.Invited{User: user, Role: access.RoleMember}})
	}
	heir("mia")
	commit(t, s, rules.Add{Origin: by("p", "zoe"), Who: rules.Invited{User: "bob", Role: access.RoleModerator}})
	heir("bob")
}
