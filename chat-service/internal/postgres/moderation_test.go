package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// TestModeration: what is decided is what is read afterwards, by every question.
func TestModeration(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	const room = chat.RoomID("r")
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	profile := chat.Profile{Name: "Plans", Topic: "t", AvatarURL: "u", Data: []byte(`{"a":1}`)}
	commit(t, s, rules.Create{
		Origin: by(room, "ann"), New: chat.NewRoom{Kind: access.Private, Profile: profile},
		Members: []rules.Invited{{User: "bob", Role: access.RoleModerator}, {User: "cid", Role: access.RoleMember}},
	})
	// Nothing in the room's sequence, but in the audit.
	outcomes, out := commit(t, s, rules.Restrict{Origin: by(room, "bob"), Who: "cid", Mute: true, Until: until})
	if !outcomes[0].Changed || len(out.Events) != 0 {
		t.Errorf("a mute = %+v with %d events", outcomes[0], len(out.Events))
	}
	commit(t, s, rules.Restrict{Origin: by(room, "bob"), Who: "dan", Until: access.Forever(), Why: "spam"}, rules.SetRole{Origin: by(room, "ann"), Who: "bob", Role: access.RoleOwner})
	standing := func(user chat.UserID) access.Standing {
		t.Helper()
		one, _, err := s.Standing(t.Context(), chat.Membership{Room: room, User: user})
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.View(t.Context(), room, user, usecases.Page{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		info, third, err := s.Room(t.Context(), chat.Membership{Room: room, User: user}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(one, v.Standing) + cmp.Diff(one, third); diff != "" {
			t.Errorf("three reads of the standing of %s differ:\n%s", user, diff)
		}
		if one.Member && (info.Members != 3 || cmp.Diff(profile, info.Profile) != "") || !one.Member && info.Members != 0 {
			t.Errorf("the room for %s = %+v", user, info)
		}
		return one
	}
	want := map[chat.UserID]access.Standing{
		"ann": {Exists: true, Kind: access.Private, Member: true, Role: access.RoleOwner},
		"bob": {Exists: true, Kind: access.Private, Member: true, Role: access.RoleOwner},
		"cid": {Exists: true, Kind: access.Private, Member: true, Role: access.RoleMember, MutedUntil: until},
		"dan": {Exists: true, Kind: access.Private, BannedUntil: access.Forever()},
		"eve": {Exists: true, Kind: access.Private},
	}
	got := map[chat.UserID]access.Standing{}
	for user := range want {
		got[user] = standing(user)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("standings (-want +got):\n%s", diff)
	}
	// The first owner goes: there is another one.
	outcomes, _ = commit(t, s, rules.Leave{Origin: by(room, "ann")}, rules.Leave{Origin: by(room, "bob")})
	if outcomes[0].Err != nil || outcomes[1].Err == nil || roleIn(t, s, room, "bob") != access.RoleOwner {
		t.Errorf("two owners leave = %v, %v, and bob is %s", outcomes[0].Err, outcomes[1].Err, roleIn(t, s, room, "bob"))
	}
	seqs(t, s, room)

	conn, err := pgx.Connect(t.Context(), cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), `SELECT by_id || ' ' || act || ' ' || user_id || ' ' || role || reason FROM chat.audit ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	audit, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if diff := cmp.Diff([]string{"bob mute cid ", "bob ban dan spam", "ann role bob owner"}, audit); diff != "" || err != nil {
		t.Errorf("audit (-want +got):\n%s%v", diff, err)
	}
	// A room that a refused command would have made is not there.
	commit(t, s, rules.Open{Origin: by("direct", "ann"), Others: []rules.Invited{{User: "bob"}}}, send("nowhere", "ann", "x", ""))
	if one, _, err := s.Standing(t.Context(), chat.Membership{Room: "nowhere", User: "ann"}); err != nil || one.Exists {
		t.Errorf("a room that nobody made = %+v, %v", one, err)
	}
}

func roleIn(t *testing.T, s usecases.Store, room chat.RoomID, user chat.UserID) access.Role {
	t.Helper()
	one, _, err := s.Standing(t.Context(), chat.Membership{Room: room, User: user})
	if err != nil {
		t.Fatal(err)
	}
	return one.Role
}
