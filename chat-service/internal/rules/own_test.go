package rules_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault"
)

// reasons tells outcomes by the reason of the refusal, its kind where there is none, "done", or "-" for nothing done.
func reasons(outcomes []rules.Outcome) (words []string) {
	for _, o := range outcomes {
		word := "-"
		if o.Changed {
			word = "done"
		}
		if f, ok := o.Err.(*fault.Error); ok { //nolint:errorlint // as Decide gives it
			if word = string(f.Reason); word == "" {
				word = string(f.Kind)
			}
		}
		words = append(words, word)
	}
	return words
}

func TestSetPrefs(t *testing.T) {
	yes, no := new(true), new(false)
	set := func(user chat.UserID, muted, hidden, pinned *bool) rules.Command {
		return rules.SetPrefs{Origin: rulestest.By(user), Muted: muted, Hidden: hidden, Pinned: pinned}
	}
	state := rulestest.World{"r": {"ann", "bob"}}.State()
	state.Prefs = map[chat.Membership]chat.Prefs{{Room: "r", User: "bob"}: {Pinned: true}}
	changes, outcomes := rules.Decide(state, []rules.Command{
		set("ann", yes, nil, nil), set("ann", yes, nil, nil), set("ann", nil, yes, nil), set("bob", nil, nil, yes), set("bob", no, no, no),
		set("eve", yes, yes, yes), set("bob", nil, nil, nil), rulestest.Leave("ann"), set("ann", no, nil, nil), rulestest.Join("ann"), set("ann", no, nil, yes),
	})
	want := []string{"done", "-", "done", "-", "done", "forbidden", "-", "done", "forbidden", "done", "done"}
	if diff := cmp.Diff(want, reasons(outcomes)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	ann, bob := chat.Membership{Room: "r", User: "ann"}, chat.Membership{Room: "r", User: "bob"}
	if diff := cmp.Diff([]rules.ChangedPrefs{{Membership: bob, Prefs: chat.Prefs{}}, {Membership: ann, Prefs: chat.Prefs{Pinned: true}}}, changes.Prefs); diff != "" {
		t.Errorf("prefs (-want +got):\n%s", diff)
	}
	var said []chat.Prefs
	for _, e := range changes.Told {
		if f, ok := e.Fact.(chat.PrefsChanged); ok {
			said = append(said, f.Prefs)
		}
	}
	if diff := cmp.Diff([]chat.Prefs{{Muted: true}, {Muted: true, Hidden: true}, {}, {Pinned: true}}, said); diff != "" {
		t.Errorf("what is told (-want +got):\n%s", diff)
	}
	tellsWhomItLocked(t, changes, []rules.Command{set("ann", yes, nil, nil), set("bob", yes, nil, nil), rulestest.Leave("ann")})
}

// TestBlock: neither of two opens a room or speaks in it while one blocks the other; whoever blocked ends it, and not the other one.
func TestBlock(t *testing.T) {
	room := chat.DirectID([]chat.UserID{"ann", "bob"})
	in := func(user chat.UserID) rules.Origin { return rules.Origin{Room: room, User: user} }
	open := func(user, other chat.UserID) rules.Command {
		return rules.Open{Origin: in(user), Others: []rules.Invited{{User: other}}}
	}
	block := func(user, other chat.UserID, end bool) rules.Command {
		return rules.Block{Origin: in(user), Who: other, End: end}
	}
	say := func(user chat.UserID) rules.Command { return rules.Send{Origin: in(user), Content: "x", Type: "text"} }
	before := rulestest.World{}.State()
	before.Fresh = map[chat.RoomID]bool{room: true}
	changes, outcomes := rules.Decide(before, []rules.Command{
		block("ann", "bob", false), block("ann", "bob", false), open("ann", "bob"), open("bob", "ann"), block("bob", "ann", true),
		open("ann", "bob"), block("ann", "bob", true), block("ann", "bob", true),
	})
	if diff := cmp.Diff([]string{"done", "-", "blocked", "blocked", "-", "blocked", "done", "-"}, reasons(outcomes)); diff != "" {
		t.Errorf("without a room (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]chat.RoomID{room}, changes.Unmade); diff != "" || changes.Empty() {
		t.Errorf("a room that nobody opened (-want +got):\n%s", diff)
	}
	backend := rules.Open{Origin: rules.Origin{Room: room, User: chat.System, Granted: access.Everything}, Others: []rules.Invited{{User: "ann"}, {User: "bob"}}}
	changes, outcomes = rules.Decide(before, []rules.Command{
		block("bob", "ann", false), backend, say("ann"), say("bob"), open("ann", "bob"), block("bob", "ann", true), say("ann"), say("bob"),
	})
	if diff := cmp.Diff([]string{"done", "done", "blocked", "blocked", "blocked", "done", "done", "done"}, reasons(outcomes)); diff != "" || len(changes.Joined) != 2 {
		t.Errorf("a backend opens the room, %d come (-want +got):\n%s", len(changes.Joined), diff)
	}
	there := rulestest.World{room: {"ann", "bob"}}.State()
	there.Rooms[room] = rules.Room{Seq: 10, Kind: access.Direct}
	_, outcomes = rules.Decide(there, []rules.Command{
		say("bob"), block("ann", "bob", false), say("ann"), say("bob"), open("bob", "ann"), block("bob", "ann", false), block("ann", "bob", true),
		say("ann"), block("bob", "ann", true), say("ann"), say("bob"), open("bob", "ann"),
	})
	want := []string{"done", "done", "blocked", "blocked", "blocked", "done", "done", "blocked", "done", "done", "done", "-"}
	if diff := cmp.Diff(want, reasons(outcomes)); diff != "" {
		t.Errorf("in a room (-want +got):\n%s", diff)
	}
}

func TestInvitations(t *testing.T) {
	at := rulestest.World{}.State().At
	hash := chat.HashInvite("secret")
	show := func(user chat.UserID) rules.Join {
		j := rulestest.Join(user)
		j.Invite, j.Inviter = hash, "ann"
		return j
	}
	good := chat.Invitation{Hash: hash, Room: "r", By: "ann", Role: access.RoleModerator, Uses: 2, Until: at.Add(time.Minute)}
	with := func(change func(*chat.Invitation, *rules.State)) rules.State {
		state, i := rulestest.World{"r": {"ann", "bob"}}.State(), good
		state.Rooms["r"] = rules.Room{Seq: 10, Kind: access.Private, Owner: "ann"}
		state.Members[chat.Membership{Room: "r", User: "banned"}] = rules.Member{BannedUntil: access.Forever()}
		change(&i, &state)
		state.Invites = map[chat.InviteHash]chat.Invitation{hash: i}
		return state
	}
	asIs := func(*chat.Invitation, *rules.State) {}
	for _, test := range []struct {
		name     string
		state    rules.State
		commands []rules.Command
		want     []string
		left     []int
	}{
		{"twice, and no member uses it up", with(asIs), []rules.Command{show("bob"), show("cid"), show("cid"), show("dan"), show("eve")}, []string{"-", "done", "-", "done", "invite_expired"}, []int{1, 0}},
		{"without it", with(asIs), []rules.Command{rulestest.Join("cid")}, []string{"not_found"}, nil},
		{"banned", with(asIs), []rules.Command{show("banned")}, []string{"banned"}, nil},
		{"over", with(func(i *chat.Invitation, _ *rules.State) { i.Until = at }), []rules.Command{show("cid")}, []string{"invite_expired"}, nil},
		{"of another room", with(func(i *chat.Invitation, _ *rules.State) { i.Room = "s" }), []rules.Command{show("cid")}, []string{"invite_expired"}, nil},
		{"its maker has left", with(func(i *chat.Invitation, _ *rules.State) { i.By = "gone" }), []rules.Command{show("cid")}, []string{"invite_expired"}, nil},
		{"its maker is less by now", with(func(_ *chat.Invitation, s *rules.State) { s.Rooms["r"] = rules.Room{Seq: 10, Kind: access.Private} }), []rules.Command{show("cid")}, []string{"invite_expired"}, nil},
		{"of a deleted room", with(func(_ *chat.Invitation, s *rules.State) { s.Rooms["r"] = rules.Room{Seq: 10, Kind: access.Deleted} }), []rules.Command{show("cid")}, []string{"invite_expired"}, nil},
		{"of a public room, and bad", with(func(i *chat.Invitation, s *rules.State) {
			i.Uses, s.Rooms["r"] = 0, rules.Room{Seq: 10, Kind: access.Public, Owner: "ann"}
		}), []rules.Command{show("cid")}, []string{"done"}, nil},
	} {
		changes, outcomes := rules.Decide(test.state, test.commands)
		if diff := cmp.Diff(test.want, reasons(outcomes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		var left []int
		for _, i := range changes.Invites {
			left = append(left, i.Uses)
		}
		if diff := cmp.Diff(test.left, left); diff != "" {
			t.Errorf("%s: uses that are left (-want +got):\n%s", test.name, diff)
		}
		for _, m := range changes.Joined {
			if role := map[bool]access.Role{true: access.RoleModerator, false: access.RoleMember}[len(test.left) > 0]; m.Role != role {
				t.Errorf("%s: %s is %s, want %s", test.name, m.User, m.Role, role)
			}
		}
	}
	invite := func(user chat.UserID, role access.Role) rules.Command {
		return rules.Invite{Origin: rulestest.By(user), Hash: hash, Role: role, Uses: 1, Until: at.Add(time.Minute)}
	}
	state := with(func(_ *chat.Invitation, s *rules.State) {
		s.Members[chat.Membership{Room: "r", User: "mod"}] = rules.Member{Is: true, Role: access.RoleModerator}
	})
	changes, outcomes := rules.Decide(state, []rules.Command{
		invite("ann", access.RoleOwner), invite("mod", access.RoleOwner), invite("mod", access.RoleModerator), invite("bob", access.RoleMember), invite("eve", access.RoleMember),
	})
	if diff := cmp.Diff([]string{"done", "not_allowed", "done", "not_allowed", "not_found"}, reasons(outcomes)); diff != "" || len(changes.Audit) != 2 {
		t.Errorf("who invites: %d lines in the audit (-want +got):\n%s", len(changes.Audit), diff)
	}
}

// TestRevokeInvite: who moderates ends an invitation to a role not above its own, nobody comes in by it from then on, and the audit says it
// once.
func TestRevokeInvite(t *testing.T) {
	hash, other := chat.HashInvite("secret"), chat.HashInvite("another")
	state := rulestest.World{"r": {"ann", "bob"}}.State()
	state.Rooms["r"] = rules.Room{Seq: 10, Kind: access.Private, Owner: "ann"}
	state.Members[chat.Membership{Room: "r", User: "mod"}] = rules.Member{Is: true, Role: access.RoleModerator}
	until := state.At.Add(time.Minute)
	good := chat.Invitation{Hash: hash, Room: "r", By: "ann", Role: access.RoleMember, Uses: 5, Until: until}
	as := func(change func(*chat.Invitation)) rules.State {
		s, i := state, good
		change(&i)
		s.Invites = map[chat.InviteHash]chat.Invitation{hash: i}
		return s
	}
	revoke := func(by rules.Origin, hash chat.InviteHash) rules.Command {
		return rules.RevokeInvite{Origin: by, Hash: hash}
	}
	show := rulestest.Join("cid")
	show.Invite, show.Inviter = hash, "ann"
	backend := rules.Origin{Room: "r", User: chat.System, Granted: access.Everything, Key: "crm"}
	for _, test := range []struct {
		name     string
		state    rules.State
		commands []rules.Command
		want     []string
		audit    []rules.Audit
	}{
		{
			"a moderator, twice, and who comes then", as(func(*chat.Invitation) {}),
			[]rules.Command{revoke(rulestest.By("mod"), hash), revoke(rulestest.By("ann"), hash), show},
			[]string{"done", "-", "invite_expired"},
			[]rules.Audit{{Room: "r", By: "mod", Act: "revoke-invite", User: "ann", Role: access.RoleMember, Until: until}},
		},
		{
			"a backend, its own", as(func(i *chat.Invitation) { i.By = chat.System }),
			[]rules.Command{revoke(backend, hash)},
			[]string{"done"},
			[]rules.Audit{{Room: "r", By: chat.System, Key: "crm", Act: "revoke-invite", Role: access.RoleMember, Until: until}},
		},
		{
			"a member and a stranger", as(func(*chat.Invitation) {}),
			[]rules.Command{revoke(rulestest.By("bob"), hash), revoke(rulestest.By("eve"), hash), show},
			[]string{"not_allowed", "not_found", "done"},
			nil,
		},
		{
			"to a role above", as(func(i *chat.Invitation) { i.Role = access.RoleOwner }),
			[]rules.Command{revoke(rulestest.By("mod"), hash), show},
			[]string{"not_allowed", "done"},
			nil,
		},
		{"another one", as(func(*chat.Invitation) {}), []rules.Command{revoke(rulestest.By("ann"), other), show}, []string{"-", "done"}, nil},
		{"of another room", as(func(i *chat.Invitation) { i.Room = "s" }), []rules.Command{revoke(rulestest.By("ann"), hash)}, []string{"-"}, nil},
		{"that is over", as(func(i *chat.Invitation) { i.Until = state.At }), []rules.Command{revoke(rulestest.By("ann"), hash)}, []string{"-"}, nil},
		{"used up by who came before", as(func(i *chat.Invitation) { i.Uses = 1 }), []rules.Command{show, revoke(rulestest.By("ann"), hash)}, []string{"done", "-"}, nil},
	} {
		changes, outcomes := rules.Decide(test.state, test.commands)
		if diff := cmp.Diff(test.want, reasons(outcomes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if diff := cmp.Diff(test.audit, changes.Audit); diff != "" {
			t.Errorf("%s: audit (-want +got):\n%s", test.name, diff)
		}
		if len(test.audit) > 0 && (len(changes.Invites) != 1 || changes.Invites[0].Uses != 0 || changes.Invites[0].Hash != hash) {
			t.Errorf("%s: invitations = %+v, want one without uses", test.name, changes.Invites)
		}
	}
}
