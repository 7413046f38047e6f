package usecases

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

func (m *memory) CountInvites(context.Context, chat.RoomID) (int, error) { return 0, nil }

// TestRepeatOfWhatShutsOneOut: who asks again gets the first answer, although what it did is why it may not do it any more. With another key,
// without one, and for something else it is refused.
func TestRepeatOfWhatShutsOneOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"zoe", "ann", "bob"}})
		m.state.Members[chat.Membership{Room: "r", User: "ann"}] = rules.Member{Is: true, Role: access.RoleModerator}
		s, _ := newTestService(t, m, &published{}, Config{})
		setRole := func(key string, user chat.UserID) (word string) {
			err := s.SetRole(t.Context(), Caller{User: "ann", RequestKey: key}, "r", user, access.RoleMember, func(err error) { word = faulttest.Word(err) })
			synctest.Wait()
			if err != nil {
				t.Fatal(err)
			}
			return word
		}
		for _, test := range []struct {
			key  string
			user chat.UserID
			want string
		}{
			{"k", "ann", "ok"}, {"k", "ann", "ok"}, {"l", "ann", "forbidden not_allowed"}, {"", "ann", "forbidden not_allowed"}, {"k", "bob", "invalid"},
		} {
			if got := setRole(test.key, test.user); got != test.want {
				t.Errorf("key %q about %s = %s, want %s", test.key, test.user, got, test.want)
			}
		}
		if seq := m.state.Rooms["r"].Seq; seq != 11 {
			t.Errorf("the room's seq is %d, want 11: one event", seq)
		}
		mute := rules.Restrict{Origin: rules.Origin{Room: "r"}, Who: "bob", Mute: true, Until: time.Now().Add(time.Minute)}
		for _, test := range []struct{ key, want string }{{"m", "ok"}, {"m", "ok"}, {"n", "invalid"}, {"", "invalid"}} {
			var got string
			if err := s.Restrict(t.Context(), Caller{User: "zoe", RequestKey: test.key}, mute, func(err error) { got = faulttest.Word(err) }); err != nil {
				t.Fatal(err)
			}
			pass(time.Hour)
			if got != test.want {
				t.Errorf("a mute that is over, key %q = %s, want %s", test.key, got, test.want)
			}
		}
	})
}

// TestRepeatWhileNobodyKnows: while the store cannot say whether a request is a repeat, what shuts the caller out is not the answer, because that
// would be final for something that is done; a moment later the first answer is given. Without a key it is refused at once.
func TestRepeatWhileNobodyKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"zoe", "ann"}})
		m.state.Members[chat.Membership{Room: "r", User: "ann"}] = rules.Member{Is: true, Role: access.RoleModerator}
		s, _ := newTestService(t, m, &published{}, Config{})
		setRole := func(key string) (word string) {
			err := s.SetRole(t.Context(), Caller{User: "ann", RequestKey: key}, "r", "ann", access.RoleMember, func(err error) { word = faulttest.Word(err) })
			synctest.Wait()
			if err != nil {
				t.Fatal(err)
			}
			return word
		}
		for _, step := range []struct {
			answers   error
			key, want string
		}{
			{nil, "k", "ok"},
			{fault.New(fault.Unavailable, "The database is away"), "k", "unavailable"},
			{fault.New(fault.Unavailable, "The database is away"), "", "forbidden not_allowed"},
			{nil, "k", "ok"},
		} {
			m.mu.Lock()
			m.answers = step.answers
			m.mu.Unlock()
			if got := setRole(step.key); got != step.want {
				t.Errorf("key %q while reading answers gives %v = %s, want %s", step.key, step.answers, got, step.want)
			}
		}
	})
}

// TestRepeatsGetTheFirstAnswer: of requests whose answers are more than yes.
func TestRepeatsGetTheFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann"}})
		s, _ := newTestService(t, m, &published{}, Config{})
		ann := func(key string) Caller { return Caller{User: "ann", RequestKey: key} }

		request := CreateRequest{Kind: access.Private, Profile: chat.Profile{Topic: "t"}, Members: []rules.Invited{{User: "bob"}}}
		made, err := s.Create(t.Context(), ann("k"), request)
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		again, err := s.Create(t.Context(), ann("k"), request)
		if diff := cmp.Diff(made, again); diff != "" || err != nil {
			t.Errorf("create again: %v (-want +got):\n%s", err, diff)
		}
		other := request
		other.Kind = access.Public
		if _, err := s.Create(t.Context(), ann("k"), other); faulttest.Word(err) != "invalid" {
			t.Errorf("create something else with the key = %v, want invalid", err)
		}
		if others, err := s.Create(t.Context(), Caller{User: "bob", RequestKey: "k"}, request); err != nil || others.Room == made.Room {
			t.Errorf("another user's create with the key = %v, %v, want a room of its own", others.Room, err)
		}

		invite, until, err := s.Invite(t.Context(), ann("i"), InviteRequest{Room: "r", Uses: 2})
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if i, u, err := s.Invite(t.Context(), ann("i"), InviteRequest{Room: "r", Uses: 2}); i != invite || !u.Equal(until) || err != nil {
			t.Errorf("invite again = %s until %v, %v, want %s until %v", i, u, err, invite, until)
		}
		if _, _, err := s.Invite(t.Context(), ann("i"), InviteRequest{Room: "r", Uses: 3}); faulttest.Word(err) != "invalid" {
			t.Errorf("another invite with the key = %v, want invalid", err)
		}
		if i, _, err := s.Invite(t.Context(), ann(""), InviteRequest{Room: "r", Uses: 2}); i == invite || err != nil {
			t.Errorf("an invite without a key = %s, %v, want a new one", i, err)
		}

		add := func(users ...chat.UserID) (r ActResult, err error) {
			if e := s.AddMembers(t.Context(), ann("a"), "r", users, "", func(result ActResult, e error) { r, err = result, e }); e != nil {
				t.Fatal(e)
			}
			synctest.Wait()
			return r, err
		}
		first, err := add("cid", "dan")
		if err != nil || len(first.Done) != 2 {
			t.Fatalf("add = %+v, %v", first, err)
		}
		m.state.Members[chat.Membership{Room: "r", User: "dan"}] = rules.Member{BannedUntil: access.Forever()}
		if second, err := add("cid", "dan"); err != nil || !cmp.Equal(first, second) {
			t.Errorf("add again = %+v, %v, want %+v", second, err, first)
		}
		if _, err := add("cid"); faulttest.Word(err) != "invalid" {
			t.Errorf("add others with the key = %v, want invalid", err)
		}
	})
}
