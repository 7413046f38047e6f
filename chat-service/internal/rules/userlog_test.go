package rules_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
)

// tellsWhomItLocked: a log that was not locked would get numbers twice.
func tellsWhomItLocked(t *testing.T, changes rules.Changes, commands []rules.Command) {
	t.Helper()
	needs := rules.NeedsOf(commands, true)
	for _, e := range changes.Told {
		user, ok := chat.UserOf(e.Room)
		if !ok || !slices.Contains(needs.Logs, user) {
			t.Errorf("%q is told %T, but its log is not locked", e.Room, e.Fact)
		}
	}
	for _, l := range changes.Logs {
		if !slices.Contains(needs.Logs, l.User) {
			t.Errorf("the log of %q advances, but was not locked", l.User)
		}
	}
}

// told lists what users are told, in order.
func told(changes rules.Changes) (lines []string) {
	for _, e := range changes.Told {
		user, _ := chat.UserOf(e.Room)
		line := fmt.Sprint(user, " ", e.Seq, " ")
		switch f := e.Fact.(type) {
		case chat.RoomAdded:
			line += fmt.Sprint("added ", f.Room.Room, " ", f.Room.Kind, " of ", f.Room.Members)
			if f.By != "" {
				line += " by " + string(f.By)
			}
		case chat.RoomRemoved:
			line += fmt.Sprint(f.Reason, " ", f.Room)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestTold(t *testing.T) {
	at := func(room chat.RoomID, user chat.UserID) rules.Origin { return rules.Origin{Room: room, User: user} }
	for _, test := range []struct {
		name     string
		commands []rules.Command
		want     []string
	}{
		{"a message tells nobody", []rules.Command{rulestest.Send("ann", "")}, nil},
		{"nothing happens", []rules.Command{rulestest.Join("ann"), rulestest.Leave("eve"), rules.Add{Origin: rulestest.By("ann"), Who: rules.Invited{User: "bob"}}, rules.Remove{Origin: rulestest.By("ann"), Who: "eve", Why: ""}}, nil},
		{"refused", []rules.Command{rules.Add{Origin: rulestest.By("bob"), Who: rules.Invited{User: "eve"}}, rules.Remove{Origin: rulestest.By("bob"), Who: "ann", Why: ""}}, nil},
		{"who comes and goes", []rules.Command{rulestest.Join("cid"), rulestest.Leave("cid"), rulestest.Join("cid")}, []string{"cid 1 added r public of 3", "cid 2 left r", "cid 3 added r public of 3"}},
		{
			"what moderators do",
			[]rules.Command{
				rules.Add{Origin: rulestest.By("ann"), Who: rules.Invited{User: "cid"}},
				rules.Remove{Origin: rulestest.By("ann"), Who: "cid", Why: ""},
				rules.Restrict{Origin: rulestest.By("ann"), Who: "bob", Until: access.Forever()},
				rules.Restrict{Origin: rulestest.By("ann"), Who: "eve", Until: access.Forever()},
				rules.Restrict{Origin: rulestest.By("ann"), Who: "bob", Mute: true, Until: access.Forever()},
			},
			[]string{"cid 1 added r public of 1 by ann", "cid 2 removed r", "bob 8 banned r"},
		},
		{
			"a room is made",
			[]rules.Command{rules.Create{Origin: at("new", "ann"), New: chat.NewRoom{Kind: access.Private}, Members: []rules.Invited{{User: "bob"}, {User: "cid"}}}},
			[]string{"ann 1 added new private of 3", "bob 8 added new private of 3 by ann", "cid 1 added new private of 3 by ann"},
		},
		{
			"a direct room is opened, twice",
			[]rules.Command{rules.Open{Origin: at("new", "ann"), Others: []rules.Invited{{User: "bob"}}}, rules.Open{Origin: at("new", "bob"), Others: []rules.Invited{{User: "ann"}}}},
			[]string{"ann 1 added new direct of 2", "bob 8 added new direct of 2 by ann"},
		},
		{
			"two rooms tell one user",
			[]rules.Command{rules.Join{Origin: at("new", "bob"), Create: access.Public}, rulestest.Leave("bob")},
			[]string{"bob 8 added new public of 1", "bob 9 left r"},
		},
	} {
		state := rulestest.World{"r": {"ann", "bob"}}.State()
		state.Fresh = map[chat.RoomID]bool{"new": true}
		state.Logs = map[chat.UserID]uint64{"bob": 7}
		state.Infos = map[chat.RoomID]chat.RoomInfo{"r": {Room: "r", Kind: access.Public, Members: 2}}
		changes, _ := rules.Decide(state, test.commands)
		if diff := cmp.Diff(test.want, told(changes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		heads := map[chat.UserID]uint64{}
		for _, e := range changes.Told {
			user, _ := chat.UserOf(e.Room)
			heads[user] = e.Seq
		}
		for _, l := range changes.Logs {
			if l.Seq != heads[l.User] || l.Trim != 0 {
				t.Errorf("%s: the log of %s is %+v, want to stand at %d", test.name, l.User, l, heads[l.User])
			}
			delete(heads, l.User)
		}
		if len(heads) > 0 {
			t.Errorf("%s: the logs of %v do not advance", test.name, heads)
		}
	}
}

// TestLogsAreTrimmed: a log keeps its last thousand facts, and is not trimmed for each of them.
func TestLogsAreTrimmed(t *testing.T) {
	for before, want := range map[uint64]uint64{0: 0, 98: 0, 998: 0, 999: 0, 1098: 0, 1099: 100, 1100: 0, 1198: 0, 1199: 200} {
		state := rulestest.World{"r": {"ann"}}.State()
		state.Logs = map[chat.UserID]uint64{"bob": before}
		changes, _ := rules.Decide(state, []rules.Command{rulestest.Join("bob")})
		if diff := cmp.Diff([]rules.ChangedLog{{User: "bob", Seq: before + 1, Trim: want}}, changes.Logs); diff != "" {
			t.Errorf("a log at %d (-want +got):\n%s", before, diff)
		}
	}
}
