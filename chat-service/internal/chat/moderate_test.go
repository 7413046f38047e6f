package chat

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/proto/fault"
)

// doors is a room of a kind in which ann and bob have roles, "" = none; another user owns it.
func doors(kind Kind, ann, bob Role) State {
	s := world{}.state()
	s.Rooms["r"] = Room{Seq: 10, Kind: kind, Owner: "zoe"}
	s.Members[Membership{"r", "zoe"}] = Member{Is: true, Role: RoleMember}
	for user, role := range map[UserID]Role{"ann": ann, "bob": bob} {
		if role != "" {
			s.Members[Membership{"r", user}] = Member{Is: true, Role: role}
		}
	}
	return s
}

// mayAct is the table of who may act on whom, in its own words.
func mayAct(kind Kind, ann, bob Role) string {
	switch {
	case ann == "" && kind == Public:
		return "forbidden"
	case ann == "":
		return "not_found"
	case ann == RoleMember:
		return "forbidden not_allowed"
	case ann == RoleModerator && (bob == RoleModerator || bob == RoleOwner):
		return "forbidden not_allowed"
	}
	return "ok"
}

// TestModerate tries every act of every role on every role, in every kind of room.
func TestModerate(t *testing.T) {
	soon := time.UnixMilli(1_900_000_000_000).UTC()
	roles := []Role{"", RoleMember, RoleModerator, RoleOwner}
	for _, kind := range []Kind{Public, Private} {
		for _, ann := range roles {
			for _, bob := range roles {
				want := mayAct(kind, ann, bob)
				member := want
				if want == "ok" && bob == "" {
					member = "not_found" // no member has a role
				}
				add := want
				if bob != "" && ann.rank() >= 2 {
					add = "ok" // is one
				}
				raise := member
				if want == "ok" && bob != "" && ann == RoleModerator {
					raise = "forbidden not_allowed"
				}
				for _, c := range []struct {
					what    string
					command Command
					want    string
				}{
					{"add", Add{by("ann"), Invited{"bob", RoleMember}}, add},
					{"remove", Remove{Origin: by("ann"), Who: "bob"}, want},
					{"ban", Restrict{Origin: by("ann"), Who: "bob", Until: soon}, want},
					{"unban", Restrict{Origin: by("ann"), Who: "bob"}, want},
					{"mute", Restrict{Origin: by("ann"), Who: "bob", Mute: true, Until: Forever()}, want},
					{"make moderator", SetRole{by("ann"), "bob", RoleModerator}, member},
					{"make owner", SetRole{by("ann"), "bob", RoleOwner}, raise},
				} {
					changes, outcomes := Decide(doors(kind, ann, bob), []Command{c.command})
					name := fmt.Sprintf("%s: %q, a %s, %q", kind, ann, c.what, bob)
					if got := answer(outcomes[0].Err); got != c.want {
						t.Errorf("%s = %s, want %s", name, got, c.want)
					}
					if changed := outcomes[0].Changed; changed != (len(changes.Audit) == 1) || changed == changes.Empty() {
						t.Errorf("%s: changed %v, with the audit %+v", name, changed, changes.Audit)
					}
				}
			}
		}
	}
}

// TestNobodyActsOnOneself but to step down.
func TestNobodyActsOnOneself(t *testing.T) {
	for _, c := range []Command{Remove{Origin: by("ann"), Who: "ann"}, Restrict{Origin: by("ann"), Who: "ann", Until: Forever()}} {
		if _, outcomes := Decide(doors(Private, RoleOwner, ""), []Command{c}); answer(outcomes[0].Err) != "forbidden not_allowed" {
			t.Errorf("%T of oneself = %v", c, outcomes[0].Err)
		}
	}
	if _, outcomes := Decide(doors(Private, RoleModerator, ""), []Command{SetRole{by("ann"), "ann", RoleMember}}); outcomes[0].Err != nil {
		t.Errorf("stepping down = %v", outcomes[0].Err)
	}
}

// TestBan: a banned user is out, and cannot come back, be added or speak, until the ban is over.
func TestBan(t *testing.T) {
	state := doors(Public, RoleModerator, RoleMember)
	until := state.At.Add(time.Hour)
	changes, outcomes := Decide(state, []Command{
		Restrict{Origin: by("ann"), Who: "bob", Until: until},
		send("bob", ""), join("bob"),
		Add{by("ann"), Invited{"bob", RoleMember}},
		Restrict{Origin: by("ann"), Who: "bob"},
		join("bob"),
		Restrict{Origin: by("ann"), Who: "bob", Mute: true, Until: until},
		send("bob", ""), leave("bob"), join("bob"), send("bob", ""),
	})
	var got []string
	for _, o := range outcomes {
		got = append(got, answer(o.Err))
	}
	want := []string{
		"ok", "forbidden banned", "forbidden banned", "forbidden banned", "ok", "ok", "ok", "forbidden muted", "ok", "ok", "forbidden muted",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	first := RoomEvent{Room: "r", Seq: 11, Fact: UserLeft{User: "bob", By: "ann", Reason: LeftBanned}, EvictUser: "bob"}
	if diff := cmp.Diff(first, changes.Events[0]); diff != "" {
		t.Errorf("the first event (-want +got):\n%s", diff)
	}
	restricted := []ChangedMember{{Membership{"r", "bob"}, Member{Is: true, Name: Name{Text: "bob"}, Role: RoleMember, MutedUntil: until}}}
	if diff := cmp.Diff(restricted, changes.Restricted); diff != "" {
		t.Errorf("restrictions (-want +got):\n%s", diff)
	}
	if n := len(changes.Joined); n != 1 || !changes.Joined[0].MutedUntil.Equal(until) {
		t.Errorf("joined = %+v, want bob, still muted", changes.Joined)
	}
}

// TestLastOwner: a room with members has an owner, unless it is public, where one follows by itself.
func TestLastOwner(t *testing.T) {
	owned := func(kind Kind, company bool) State {
		s := doors(kind, "", RoleMember)
		s.Company = map[Membership]bool{{"r", "zoe"}: company}
		return s
	}
	withHeir := Leave{Origin: by("zoe"), Successor: "bob"}
	other := []Command{SetRole{by("zoe"), "bob", RoleOwner}, leave("zoe")}
	for _, test := range []struct {
		name     string
		state    State
		commands []Command
		want     string
		owner    UserID
	}{
		{"private", owned(Private, true), []Command{leave("zoe")}, "conflict last_owner", ""},
		{"private, alone", owned(Private, false), []Command{leave("zoe")}, "ok", ""},
		{"public", owned(Public, true), []Command{leave("zoe")}, "ok", ""},
		{"an heir is named", owned(Private, true), []Command{withHeir}, "ok", "bob"},
		{"an heir who is no member", owned(Private, true), []Command{Leave{Origin: by("zoe"), Successor: "eve"}}, "invalid", ""},
		{"another one was made owner before", owned(Private, true), other, "ok ok", "bob"},
		{"steps down as the last", owned(Private, true), []Command{SetRole{by("zoe"), "zoe", RoleMember}}, "conflict last_owner", ""},
	} {
		changes, outcomes := Decide(test.state, test.commands)
		var got []string
		for _, o := range outcomes {
			got = append(got, answer(o.Err))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %v, want %s", test.name, got, test.want)
		}
		if test.owner != "" && changes.Rooms[0].Owner != test.owner {
			t.Errorf("%s: the owner is %q, want %s", test.name, changes.Rooms[0].Owner, test.owner)
		}
	}
}

// TestRemovedIsOutBeforeTheAnswer: all gateways are told, and what is remembered is forgotten, before a removal, a ban, a mute and a role
// are answered. A mute and a role take nobody out.
func TestRemovedIsOutBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(world{"r": {"ann", "bob", "cid", "dan"}})
		s, _ := newTestService(t, m, &published{}, Config{MembershipTTL: time.Minute})
		ann := Caller{User: "ann"}
		speaks := func(user UserID) string {
			return answer(s.RoomMessage(t.Context(), Caller{User: user}, "r", Emit{}))
		}
		for _, user := range []UserID{"bob", "cid", "dan"} {
			if got := speaks(user); got != "ok" { // and is remembered
				t.Fatal(got)
			}
		}
		var told []string
		done := func(err error) { told = append(told, fmt.Sprint(answer(err), " after ", len(m.evicted))) }
		ctx, cancel := context.WithCancel(t.Context())
		err := s.RemoveMembers(ctx, ann, "r", []UserID{"bob", "eve", "ann"}, "", func(r ActResult, err error) {
			if diff := cmp.Diff(ActResult{[]UserID{"bob", "eve"}, []Failure{{"ann", fault.ReasonNotAllowed}}}, r); diff != "" {
				t.Errorf("removed (-want +got):\n%s", diff)
			}
			done(err)
		})
		cancel() // the request's context does not end the act
		synctest.Wait()
		for _, r := range []Restrict{{Who: "cid", Until: Forever()}, {Who: "dan", Mute: true, Until: time.Now().Add(time.Hour)}} {
			r.Room = "r"
			if e := s.Restrict(t.Context(), ann, r, done); e != nil || err != nil {
				t.Fatal(e, err)
			}
			synctest.Wait()
		}
		if err := s.SetRole(t.Context(), ann, "r", "dan", RoleModerator, done); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff(evictions{"r [bob] 11", "r [cid] 12", "r [dan] 0", "r [dan] 0"}, m.evicted); diff != "" {
			t.Errorf("evicted (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"ok after 1", "ok after 2", "ok after 3", "ok after 4"}, told); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		if b, c, d := speaks("bob"), speaks("cid"), speaks("dan"); b != "forbidden" || c != "forbidden banned" || d != "forbidden muted" {
			t.Errorf("afterwards bob, cid and dan speak: %s, %s, %s", b, c, d)
		}
		if err := s.AddMembers(t.Context(), Caller{User: "eve"}, "r", []UserID{"eve"}, "", func(_ ActResult, err error) { done(err) }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if told[4] != "forbidden after 4" {
			t.Errorf("a stranger adds = %s", told[4])
		}
	})
}
