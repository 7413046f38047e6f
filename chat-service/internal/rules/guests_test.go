package rules_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

const guest, otherGuest = chat.UserID("guest:0197f000-0000-7000-8000-000000000001"), chat.UserID("guest:0197f000-0000-7000-8000-000000000002")

// TestGuestsAreNothingElse: whatever is stored of a guest, and whoever says what, a guest is a guest in every room.
func TestGuestsAreNothingElse(t *testing.T) {
	invite := chat.HashInvite("secret")
	soon := time.UnixMilli(1_900_000_000_000).UTC()
	state := func() rules.State {
		s := doors(access.Private, access.RoleOwner, "")
		s.Invites = map[chat.InviteHash]chat.Invitation{invite: {Hash: invite, Room: "r", By: "ann", Role: access.RoleModerator, Uses: 9, Until: soon}}
		return s
	}
	byInvite := rules.Join{Origin: rulestest.By(guest), Invite: invite, Inviter: "ann"}
	backend := rulestest.By(chat.System)
	backend.Granted = access.Everything
	invited := func(role access.Role) rules.Invited { return rules.Invited{User: guest, Role: role} }
	for _, test := range []struct {
		name     string
		commands []rules.Command
		want     []string
		role     access.Role // of the guest afterwards; "" = is no member
	}{
		{"is added", []rules.Command{rules.Add{Origin: rulestest.By("ann"), Who: invited(access.RoleMember)}}, []string{"ok"}, access.RoleGuest},
		{"is added as a moderator", []rules.Command{rules.Add{Origin: rulestest.By("ann"), Who: invited(access.RoleModerator)}}, []string{"forbidden not_allowed"}, ""},
		{"is added as an owner by a backend", []rules.Command{rules.Add{Origin: backend, Who: invited(access.RoleOwner)}}, []string{"forbidden not_allowed"}, ""},
		{"comes by an invite to be a moderator", []rules.Command{byInvite}, []string{"ok"}, access.RoleGuest},
		{"is made a moderator", []rules.Command{byInvite, rules.SetRole{Origin: rulestest.By("ann"), Who: guest, Role: access.RoleModerator}}, []string{"ok", "forbidden not_allowed"}, access.RoleGuest},
		{"is made a member", []rules.Command{byInvite, rules.SetRole{Origin: rulestest.By("ann"), Who: guest, Role: access.RoleMember}}, []string{"ok", "forbidden not_allowed"}, access.RoleGuest},
		{"is the heir", []rules.Command{byInvite, rules.Leave{Origin: rulestest.By("zoe"), Successor: guest}}, []string{"ok", "invalid"}, access.RoleGuest},
		{"manages", []rules.Command{
			byInvite,
			rules.Add{Origin: rulestest.By(guest), Who: rules.Invited{User: "eve", Role: access.RoleMember}},
			rules.Remove{Origin: rulestest.By(guest), Who: "ann"},
			rules.Delete{Origin: rulestest.By(guest)},
			rules.Invite{Origin: rulestest.By(guest), Role: access.RoleMember, Uses: 1, Until: soon},
			rules.Archive{Origin: rulestest.By(guest)},
		}, []string{"ok", "forbidden not_allowed", "forbidden not_allowed", "forbidden not_allowed", "forbidden not_allowed", "forbidden not_allowed"}, access.RoleGuest},
		{"is a member like others", []rules.Command{byInvite, rulestest.Send(guest, ""), rules.SetPrefs{Origin: rulestest.By(guest), Muted: new(true)}, rulestest.Leave(guest)}, []string{"ok", "ok", "ok", "ok"}, ""},
	} {
		changes, outcomes := rules.Decide(state(), test.commands)
		var got []string
		for _, o := range outcomes {
			got = append(got, faulttest.Word(o.Err))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		role := access.Role("")
		for _, m := range changes.Joined {
			if m.User == guest {
				role = m.Role
			}
		}
		if role != test.role {
			t.Errorf("%s: is %q in the room, want %q", test.name, role, test.role)
		}
	}
}

// TestGuestsMakeNoRooms: neither by asking for one, nor by joining one that there is not, nor by being alone in one; what others make they
// are in.
func TestGuestsMakeNoRooms(t *testing.T) {
	fresh := func() rules.State {
		s := rulestest.World{}.State()
		s.Fresh = map[chat.RoomID]bool{"r": true}
		return s
	}
	for name, command := range map[string]rules.Command{
		"create": rules.Create{Origin: rulestest.By(guest), New: chat.NewRoom{Kind: access.Private}},
		"join":   rules.Join{Origin: rulestest.By(guest), Create: access.Public},
		"open":   rules.Open{Origin: rulestest.By(guest), Others: []rules.Invited{{User: "ann"}}},
	} {
		changes, outcomes := rules.Decide(fresh(), []rules.Command{command})
		if got := faulttest.Word(outcomes[0].Err); got != "forbidden not_allowed" || len(changes.Events)+len(changes.Rooms) > 0 {
			t.Errorf("%s by a guest = %s, %+v, want forbidden not_allowed, and nothing written", name, got, changes)
		}
	}
	changes, outcomes := rules.Decide(fresh(), []rules.Command{rules.Open{Origin: rulestest.By("ann"), Others: []rules.Invited{{User: guest}, {User: otherGuest}}}})
	if outcomes[0].Err != nil || len(changes.Joined) != 3 || changes.Joined[1].Role != access.RoleGuest {
		t.Errorf("a direct room with guests = %v, %+v, want all three in it", outcomes[0].Err, changes.Joined)
	}
	nobodys := rulestest.World{"r": nil}.State()
	changes, outcomes = rules.Decide(nobodys, []rules.Command{rulestest.Join(guest), rulestest.Join("ann")})
	if outcomes[0].Err != nil || outcomes[1].Err != nil || changes.Rooms[0].Owner != "ann" {
		t.Errorf("a guest, then ann join a public room that nobody owns: %v, owned by %q, want ann", rulestest.Short(outcomes), changes.Rooms[0].Owner)
	}
	left := doors(access.Public, "", "")
	left.Rooms["r"] = rules.Room{Seq: 10, Kind: access.Public, Owner: guest} // as from another time
	left.Members[chat.Membership{Room: "r", User: guest}] = rules.Member{Is: true, Role: access.RoleOwner}
	if _, outcomes = rules.Decide(left, []rules.Command{rules.Delete{Origin: rulestest.By(guest)}}); faulttest.Word(outcomes[0].Err) != "forbidden not_allowed" {
		t.Errorf("a guest that is stored as the owner deletes the room: %v, want forbidden not_allowed", outcomes[0].Err)
	}
}
