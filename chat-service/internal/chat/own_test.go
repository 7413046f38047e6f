package chat_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/chat/chattest"
	"github.com/starling-chat/starling/proto/fault"
)

// reasons tells outcomes by the reason of the refusal, its kind where there is none, "done", or "-" for nothing done.
func reasons(outcomes []chat.Outcome) (words []string) {
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
	set := func(user chat.UserID, muted, hidden, pinned *bool) chat.Command {
		return chat.SetPrefs{Origin: chattest.By(user), Muted: muted, Hidden: hidden, Pinned: pinned}
	}
	state := chattest.World{"r": {"ann", "bob"}}.State()
	state.Prefs = map[chat.Membership]chat.Prefs{{Room: "r", User: "bob"}: {Pinned: true}}
	changes, outcomes := chat.Decide(state, []chat.Command{
		set("ann", yes, nil, nil), set("ann", yes, nil, nil), set("ann", nil, yes, nil), set("bob", nil, nil, yes), set("bob", no, no, no),
		set("eve", yes, yes, yes), set("bob", nil, nil, nil), chattest.Leave("ann"), set("ann", no, nil, nil), chattest.Join("ann"), set("ann", no, nil, yes),
	})
	want := []string{"done", "-", "done", "-", "done", "forbidden", "-", "done", "forbidden", "done", "done"}
	if diff := cmp.Diff(want, reasons(outcomes)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	ann, bob := chat.Membership{Room: "r", User: "ann"}, chat.Membership{Room: "r", User: "bob"}
	if diff := cmp.Diff([]chat.ChangedPrefs{{bob, chat.Prefs{}}, {ann, chat.Prefs{Pinned: true}}}, changes.Prefs); diff != "" {
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
	tellsWhomItLocked(t, changes, []chat.Command{set("ann", yes, nil, nil), set("bob", yes, nil, nil), chattest.Leave("ann")})
}

// TestBlock: neither of two opens a room or speaks in it while one blocks the other; whoever blocked ends it, and not the other one.
func TestBlock(t *testing.T) {
	room := chat.DirectID([]chat.UserID{"ann", "bob"})
	in := func(user chat.UserID) chat.Origin { return chat.Origin{Room: room, User: user} }
	open := func(user, other chat.UserID) chat.Command {
		return chat.Open{Origin: in(user), Others: []chat.Invited{{User: other}}}
	}
	block := func(user, other chat.UserID, end bool) chat.Command {
		return chat.Block{Origin: in(user), Who: other, End: end}
	}
	say := func(user chat.UserID) chat.Command { return chat.Send{Origin: in(user), Content: "x", Type: "text"} }
	before := chattest.World{}.State()
	before.Fresh = map[chat.RoomID]bool{room: true}
	changes, outcomes := chat.Decide(before, []chat.Command{
		block("ann", "bob", false), block("ann", "bob", false), open("ann", "bob"), open("bob", "ann"), block("bob", "ann", true),
		open("ann", "bob"), block("ann", "bob", true), block("ann", "bob", true),
	})
	if diff := cmp.Diff([]string{"done", "-", "blocked", "blocked", "-", "blocked", "done", "-"}, reasons(outcomes)); diff != "" {
		t.Errorf("without a room (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]chat.RoomID{room}, changes.Unmade); diff != "" || changes.Empty() {
		t.Errorf("a room that nobody opened (-want +got):\n%s", diff)
	}
	backend := chat.Open{Origin: chat.Origin{Room: room, User: chat.System, Granted: access.Everything}, Others: []chat.Invited{{User: "ann"}, {User: "bob"}}}
	changes, outcomes = chat.Decide(before, []chat.Command{
		block("bob", "ann", false), backend, say("ann"), say("bob"), open("ann", "bob"), block("bob", "ann", true), say("ann"), say("bob"),
	})
	if diff := cmp.Diff([]string{"done", "done", "blocked", "blocked", "blocked", "done", "done", "done"}, reasons(outcomes)); diff != "" || len(changes.Joined) != 2 {
		t.Errorf("a backend opens the room, %d come (-want +got):\n%s", len(changes.Joined), diff)
	}
	there := chattest.World{room: {"ann", "bob"}}.State()
	there.Rooms[room] = chat.Room{Seq: 10, Kind: access.Direct}
	_, outcomes = chat.Decide(there, []chat.Command{
		say("bob"), block("ann", "bob", false), say("ann"), say("bob"), open("bob", "ann"), block("bob", "ann", false), block("ann", "bob", true),
		say("ann"), block("bob", "ann", true), say("ann"), say("bob"), open("bob", "ann"),
	})
	want := []string{"done", "done", "blocked", "blocked", "blocked", "done", "done", "blocked", "done", "done", "done", "-"}
	if diff := cmp.Diff(want, reasons(outcomes)); diff != "" {
		t.Errorf("in a room (-want +got):\n%s", diff)
	}
}

func TestInvitations(t *testing.T) {
	at := chattest.World{}.State().At
	hash := chat.HashInvite("secret")
	show := func(user chat.UserID) chat.Join {
		j := chattest.Join(user)
		j.Invite, j.Inviter = hash, "ann"
		return j
	}
	good := chat.Invitation{Hash: hash, Room: "r", By: "ann", Role: access.RoleModerator, Uses: 2, Until: at.Add(time.Minute)}
	with := func(change func(*chat.Invitation, *chat.State)) chat.State {
		state, i := chattest.World{"r": {"ann", "bob"}}.State(), good
		state.Rooms["r"] = chat.Room{Seq: 10, Kind: access.Private, Owner: "ann"}
		state.Members[chat.Membership{Room: "r", User: "banned"}] = chat.Member{BannedUntil: access.Forever()}
		change(&i, &state)
		state.Invites = map[chat.InviteHash]chat.Invitation{hash: i}
		return state
	}
	asIs := func(*chat.Invitation, *chat.State) {}
	for _, test := range []struct {
		name     string
		state    chat.State
		commands []chat.Command
		want     []string
		left     []int
	}{
		{"twice, and no member uses it up", with(asIs), []chat.Command{show("bob"), show("cid"), show("cid"), show("dan"), show("eve")}, []string{"-", "done", "-", "done", "invite_expired"}, []int{1, 0}},
		{"without it", with(asIs), []chat.Command{chattest.Join("cid")}, []string{"not_found"}, nil},
		{"banned", with(asIs), []chat.Command{show("banned")}, []string{"banned"}, nil},
		{"over", with(func(i *chat.Invitation, _ *chat.State) { i.Until = at }), []chat.Command{show("cid")}, []string{"invite_expired"}, nil},
		{"of another room", with(func(i *chat.Invitation, _ *chat.State) { i.Room = "s" }), []chat.Command{show("cid")}, []string{"invite_expired"}, nil},
		{"its maker has left", with(func(i *chat.Invitation, _ *chat.State) { i.By = "gone" }), []chat.Command{show("cid")}, []string{"invite_expired"}, nil},
		{"its maker is less by now", with(func(_ *chat.Invitation, s *chat.State) { s.Rooms["r"] = chat.Room{Seq: 10, Kind: access.Private} }), []chat.Command{show("cid")}, []string{"invite_expired"}, nil},
		{"of a deleted room", with(func(_ *chat.Invitation, s *chat.State) { s.Rooms["r"] = chat.Room{Seq: 10, Kind: access.Deleted} }), []chat.Command{show("cid")}, []string{"invite_expired"}, nil},
		{"of a public room, and bad", with(func(i *chat.Invitation, s *chat.State) {
			i.Uses, s.Rooms["r"] = 0, chat.Room{Seq: 10, Kind: access.Public, Owner: "ann"}
		}), []chat.Command{show("cid")}, []string{"done"}, nil},
	} {
		changes, outcomes := chat.Decide(test.state, test.commands)
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
	invite := func(user chat.UserID, role access.Role) chat.Command {
		return chat.Invite{Origin: chattest.By(user), Hash: hash, Role: role, Uses: 1, Until: at.Add(time.Minute)}
	}
	state := with(func(_ *chat.Invitation, s *chat.State) {
		s.Members[chat.Membership{Room: "r", User: "mod"}] = chat.Member{Is: true, Role: access.RoleModerator}
	})
	changes, outcomes := chat.Decide(state, []chat.Command{
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
	state := chattest.World{"r": {"ann", "bob"}}.State()
	state.Rooms["r"] = chat.Room{Seq: 10, Kind: access.Private, Owner: "ann"}
	state.Members[chat.Membership{Room: "r", User: "mod"}] = chat.Member{Is: true, Role: access.RoleModerator}
	until := state.At.Add(time.Minute)
	good := chat.Invitation{Hash: hash, Room: "r", By: "ann", Role: access.RoleMember, Uses: 5, Until: until}
	as := func(change func(*chat.Invitation)) chat.State {
		s, i := state, good
		change(&i)
		s.Invites = map[chat.InviteHash]chat.Invitation{hash: i}
		return s
	}
	revoke := func(by chat.Origin, hash chat.InviteHash) chat.Command {
		return chat.RevokeInvite{Origin: by, Hash: hash}
	}
	show := chattest.Join("cid")
	show.Invite, show.Inviter = hash, "ann"
	backend := chat.Origin{Room: "r", User: chat.System, Granted: access.Everything, Key: "crm"}
	for _, test := range []struct {
		name     string
		state    chat.State
		commands []chat.Command
		want     []string
		audit    []chat.Audit
	}{
		{
			"a moderator, twice, and who comes then", as(func(*chat.Invitation) {}),
			[]chat.Command{revoke(chattest.By("mod"), hash), revoke(chattest.By("ann"), hash), show},
			[]string{"done", "-", "invite_expired"},
			[]chat.Audit{{Room: "r", By: "mod", Act: "revoke-invite", User: "ann", Role: access.RoleMember, Until: until}},
		},
		{
			"a backend, its own", as(func(i *chat.Invitation) { i.By = chat.System }),
			[]chat.Command{revoke(backend, hash)},
			[]string{"done"},
			[]chat.Audit{{Room: "r", By: chat.System, Key: "crm", Act: "revoke-invite", Role: access.RoleMember, Until: until}},
		},
		{
			"a member and a stranger", as(func(*chat.Invitation) {}),
			[]chat.Command{revoke(chattest.By("bob"), hash), revoke(chattest.By("eve"), hash), show},
			[]string{"not_allowed", "not_found", "done"},
			nil,
		},
		{
			"to a role above", as(func(i *chat.Invitation) { i.Role = access.RoleOwner }),
			[]chat.Command{revoke(chattest.By("mod"), hash), show},
			[]string{"not_allowed", "done"},
			nil,
		},
		{"another one", as(func(*chat.Invitation) {}), []chat.Command{revoke(chattest.By("ann"), other), show}, []string{"-", "done"}, nil},
		{"of another room", as(func(i *chat.Invitation) { i.Room = "s" }), []chat.Command{revoke(chattest.By("ann"), hash)}, []string{"-"}, nil},
		{"that is over", as(func(i *chat.Invitation) { i.Until = state.At }), []chat.Command{revoke(chattest.By("ann"), hash)}, []string{"-"}, nil},
		{"used up by who came before", as(func(i *chat.Invitation) { i.Uses = 1 }), []chat.Command{show, revoke(chattest.By("ann"), hash)}, []string{"done", "-"}, nil},
	} {
		changes, outcomes := chat.Decide(test.state, test.commands)
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

// TestInviteID: what moderators see of an invite names it, and is not the invite.
func TestInviteID(t *testing.T) {
	hash := chat.HashInvite("secret")
	if got, err := chat.ParseInviteID("inviteId", hash.ID()); got != hash || err != nil || chat.HashInvite(hash.ID()) == hash {
		t.Errorf("ParseInviteID(%s) = %v, %v", hash.ID(), got, err)
	}
	for _, bad := range []string{"", "secret", hash.ID() + "A", hash.ID()[1:], hash.ID()[:42] + "_", hash.ID() + "=", hash.ID()[:42] + "\n"} {
		if _, err := chat.ParseInviteID("after", bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("ParseInviteID(%q) = %v, want invalid", bad, err)
		}
	}
}
