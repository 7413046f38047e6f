package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// doors is a room of a kind in which ann and bob have roles, "" = none; another user owns it.
func doors(kind access.Kind, ann, bob access.Role) rules.State {
	s := rulestest.World{}.State()
	s.Rooms["r"] = rules.Room{Seq: 10, Kind: kind, Owner: "zoe"}
	s.Members[chat.Membership{Room: "r", User: "zoe"}] = rules.Member{Is: true, Role: access.RoleMember}
	for user, role := range map[chat.UserID]access.Role{"ann": ann, "bob": bob} {
		if role != "" {
			s.Members[chat.Membership{Room: "r", User: user}] = rules.Member{Is: true, Role: role}
		}
	}
	return s
}

// mayAct is the table of who may act on whom, in its own words.
func mayAct(kind access.Kind, ann, bob access.Role) string {
	switch {
	case ann == "" && kind == access.Public:
		return "forbidden"
	case ann == "":
		return "not_found"
	case ann == access.RoleMember:
		return "forbidden not_allowed"
	case ann == access.RoleModerator && (bob == access.RoleModerator || bob == access.RoleOwner):
		return "forbidden not_allowed"
	}
	return "ok"
}

// TestModerate tries every act of every role on every role, in every kind of room.
func TestModerate(t *testing.T) {
	soon := time.UnixMilli(1_900_000_000_000).UTC()
	roles := []access.Role{"", access.RoleMember, access.RoleModerator, access.RoleOwner}
	for _, kind := range []access.Kind{access.Public, access.Private} {
		for _, ann := range roles {
			for _, bob := range roles {
				want := mayAct(kind, ann, bob)
				member := want
				if want == "ok" && bob == "" {
					member = "not_found" // no member has a role
				}
				add := want
				if bob != "" && (ann == access.RoleModerator || ann == access.RoleOwner) {
					add = "ok" // is one
				}
				raise := member
				if want == "ok" && bob != "" && ann == access.RoleModerator {
					raise = "forbidden not_allowed"
				}
				for _, c := range []struct {
					what    string
					command rules.Command
					want    string
				}{
					{"add", rules.Add{Origin: rulestest.By("ann"), Who: rules.Invited{User: "bob", Role: access.RoleMember}}, add},
					{"remove", rules.Remove{Origin: rulestest.By("ann"), Who: "bob"}, want},
					{"ban", rules.Restrict{Origin: rulestest.By("ann"), Who: "bob", Until: soon}, want},
					{"unban", rules.Restrict{Origin: rulestest.By("ann"), Who: "bob"}, want},
					{"mute", rules.Restrict{Origin: rulestest.By("ann"), Who: "bob", Mute: true, Until: access.Forever()}, want},
					{"make moderator", rules.SetRole{Origin: rulestest.By("ann"), Who: "bob", Role: access.RoleModerator}, member},
					{"make owner", rules.SetRole{Origin: rulestest.By("ann"), Who: "bob", Role: access.RoleOwner}, raise},
				} {
					changes, outcomes := rules.Decide(doors(kind, ann, bob), []rules.Command{c.command})
					name := fmt.Sprintf("%s: %q, a %s, %q", kind, ann, c.what, bob)
					if got := faulttest.Word(outcomes[0].Err); got != c.want {
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
	for _, c := range []rules.Command{rules.Remove{Origin: rulestest.By("ann"), Who: "ann"}, rules.Restrict{Origin: rulestest.By("ann"), Who: "ann", Until: access.Forever()}} {
		if _, outcomes := rules.Decide(doors(access.Private, access.RoleOwner, ""), []rules.Command{c}); faulttest.Word(outcomes[0].Err) != "forbidden not_allowed" {
			t.Errorf("%T of oneself = %v", c, outcomes[0].Err)
		}
	}
	if _, outcomes := rules.Decide(doors(access.Private, access.RoleModerator, ""), []rules.Command{rules.SetRole{Origin: rulestest.By("ann"), Who: "ann", Role: access.RoleMember}}); outcomes[0].Err != nil {
		t.Errorf("stepping down = %v", outcomes[0].Err)
	}
}

// TestBan: a banned user is out, and cannot come back, be added or speak, until the ban is over.
func TestBan(t *testing.T) {
	state := doors(access.Public, access.RoleModerator, access.RoleMember)
	until := state.At.Add(time.Hour)
	changes, outcomes := rules.Decide(state, []rules.Command{
		rules.Restrict{Origin: rulestest.By("ann"), Who: "bob", Until: until},
		rulestest.Send("bob", ""), rulestest.Join("bob"),
		rules.Add{Origin: rulestest.By("ann"), Who: rules.Invited{User: "bob", Role: access.RoleMember}},
		rules.Restrict{Origin: rulestest.By("ann"), Who: "bob"},
		rulestest.Join("bob"),
		rules.Restrict{Origin: rulestest.By("ann"), Who: "bob", Mute: true, Until: until},
		rulestest.Send("bob", ""), rulestest.Leave("bob"), rulestest.Join("bob"), rulestest.Send("bob", ""),
	})
	var got []string
	for _, o := range outcomes {
		got = append(got, faulttest.Word(o.Err))
	}
	want := []string{
		"ok", "forbidden banned", "forbidden banned", "forbidden banned", "ok", "ok", "ok", "forbidden muted", "ok", "ok", "forbidden muted",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	first := chat.RoomEvent{Room: "r", Seq: 11, Fact: chat.UserLeft{User: "bob", By: "ann", Reason: chat.LeftBanned}, EvictUser: "bob"}
	if diff := cmp.Diff(first, changes.Events[0]); diff != "" {
		t.Errorf("the first event (-want +got):\n%s", diff)
	}
	restricted := []rules.ChangedMember{{Membership: chat.Membership{Room: "r", User: "bob"}, Member: rules.Member{Is: true, Name: chat.Name{Text: "bob"}, Role: access.RoleMember, MutedUntil: until}}}
	if diff := cmp.Diff(restricted, changes.Restricted); diff != "" {
		t.Errorf("restrictions (-want +got):\n%s", diff)
	}
	if n := len(changes.Joined); n != 1 || !changes.Joined[0].MutedUntil.Equal(until) {
		t.Errorf("joined = %+v, want bob, still muted", changes.Joined)
	}
}

// TestLastOwner: a room with members has an owner, unless it is public, where one follows by itself.
func TestLastOwner(t *testing.T) {
	owned := func(kind access.Kind, company bool) rules.State {
		s := doors(kind, "", access.RoleMember)
		s.Company = map[chat.Membership]bool{{Room: "r", User: "zoe"}: company}
		return s
	}
	withHeir := rules.Leave{Origin: rulestest.By("zoe"), Successor: "bob"}
	other := []rules.Command{rules.SetRole{Origin: rulestest.By("zoe"), Who: "bob", Role: access.RoleOwner}, rulestest.Leave("zoe")}
	for _, test := range []struct {
		name     string
		state    rules.State
		commands []rules.Command
		want     string
		owner    chat.UserID
	}{
		{"private", owned(access.Private, true), []rules.Command{rulestest.Leave("zoe")}, "conflict last_owner", ""},
		{"private, alone", owned(access.Private, false), []rules.Command{rulestest.Leave("zoe")}, "ok", ""},
		{"public", owned(access.Public, true), []rules.Command{rulestest.Leave("zoe")}, "ok", ""},
		{"an heir is named", owned(access.Private, true), []rules.Command{withHeir}, "ok", "bob"},
		{"an heir who is no member", owned(access.Private, true), []rules.Command{rules.Leave{Origin: rulestest.By("zoe"), Successor: "eve"}}, "invalid", ""},
		{"another one was made owner before", owned(access.Private, true), other, "ok ok", "bob"},
		{"steps down as the last", owned(access.Private, true), []rules.Command{rules.SetRole{Origin: rulestest.By("zoe"), Who: "zoe", Role: access.RoleMember}}, "conflict last_owner", ""},
	} {
		changes, outcomes := rules.Decide(test.state, test.commands)
		var got []string
		for _, o := range outcomes {
			got = append(got, faulttest.Word(o.Err))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %v, want %s", test.name, got, test.want)
		}
		if test.owner != "" && changes.Rooms[0].Owner != test.owner {
			t.Errorf("%s: the owner is %q, want %s", test.name, changes.Rooms[0].Owner, test.owner)
		}
	}
}
