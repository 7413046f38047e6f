package chat_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/chat/chattest"
)

// tellsWhomItLocked: a log that was not locked would get numbers twice.
func tellsWhomItLocked(t *testing.T, changes chat.Changes, commands []chat.Command) {
	t.Helper()
	needs := chat.NeedsOf(commands, true)
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
func told(changes chat.Changes) (lines []string) {
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
	at := func(room chat.RoomID, user chat.UserID) chat.Origin { return chat.Origin{Room: room, User: user} }
	for _, test := range []struct {
		name     string
		commands []chat.Command
		want     []string
	}{
		{"a message tells nobody", []chat.Command{chattest.Send("ann", "")}, nil},
		{"nothing happens", []chat.Command{chattest.Join("ann"), chattest.Leave("eve"), chat.Add{chattest.By("ann"), chat.Invited{User: "bob"}}, chat.Remove{chattest.By("ann"), "eve", ""}}, nil},
		{"refused", []chat.Command{chat.Add{chattest.By("bob"), chat.Invited{User: "eve"}}, chat.Remove{chattest.By("bob"), "ann", ""}}, nil},
		{"who comes and goes", []chat.Command{chattest.Join("cid"), chattest.Leave("cid"), chattest.Join("cid")}, []string{"cid 1 added r public of 3", "cid 2 left r", "cid 3 added r public of 3"}},
		{
			"what moderators do",
			[]chat.Command{
				chat.Add{chattest.By("ann"), chat.Invited{User: "cid"}},
				chat.Remove{chattest.By("ann"), "cid", ""},
				chat.Restrict{Origin: chattest.By("ann"), Who: "bob", Until: access.Forever()},
				chat.Restrict{Origin: chattest.By("ann"), Who: "eve", Until: access.Forever()},
				chat.Restrict{Origin: chattest.By("ann"), Who: "bob", Mute: true, Until: access.Forever()},
			},
			[]string{"cid 1 added r public of 1 by ann", "cid 2 removed r", "bob 8 banned r"},
		},
		{
			"a room is made",
			[]chat.Command{chat.Create{Origin: at("new", "ann"), New: chat.NewRoom{Kind: access.Private}, Members: []chat.Invited{{User: "bob"}, {User: "cid"}}}},
			[]string{"ann 1 added new private of 3", "bob 8 added new private of 3 by ann", "cid 1 added new private of 3 by ann"},
		},
		{
			"a direct room is opened, twice",
			[]chat.Command{chat.Open{at("new", "ann"), []chat.Invited{{User: "bob"}}}, chat.Open{at("new", "bob"), []chat.Invited{{User: "ann"}}}},
			[]string{"ann 1 added new direct of 2", "bob 8 added new direct of 2 by ann"},
		},
		{
			"two rooms tell one user",
			[]chat.Command{chat.Join{Origin: at("new", "bob"), Create: access.Public}, chattest.Leave("bob")},
			[]string{"bob 8 added new public of 1", "bob 9 left r"},
		},
	} {
		state := chattest.World{"r": {"ann", "bob"}}.State()
		state.Fresh = map[chat.RoomID]bool{"new": true}
		state.Logs = map[chat.UserID]uint64{"bob": 7}
		state.Infos = map[chat.RoomID]chat.RoomInfo{"r": {Room: "r", Kind: access.Public, Members: 2}}
		changes, _ := chat.Decide(state, test.commands)
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
		state := chattest.World{"r": {"ann"}}.State()
		state.Logs = map[chat.UserID]uint64{"bob": before}
		changes, _ := chat.Decide(state, []chat.Command{chattest.Join("bob")})
		if diff := cmp.Diff([]chat.ChangedLog{{User: "bob", Seq: before + 1, Trim: want}}, changes.Logs); diff != "" {
			t.Errorf("a log at %d (-want +got):\n%s", before, diff)
		}
	}
}

func TestLogPageMisses(t *testing.T) {
	found := func(seq uint64) []chat.EncodedEvent { return []chat.EncodedEvent{{Seq: seq}} }
	for _, test := range []struct {
		page  chat.LogPage
		head  uint64
		found []chat.EncodedEvent
		want  bool
	}{
		{chat.LogPage{After: 3}, 3, nil, false},
		{chat.LogPage{After: 0}, 0, nil, false},
		{chat.LogPage{After: 3}, 5, found(4), false},
		{chat.LogPage{After: 4}, 3, nil, true},
		{chat.LogPage{After: 3}, 2000, found(1001), true},
		{chat.LogPage{After: 3, To: 7}, 2000, nil, true},
	} {
		if got := test.page.Misses(test.head, test.found); got != test.want {
			t.Errorf("%+v of a log at %d, found %v: misses = %v, want %v", test.page, test.head, test.found, got, test.want)
		}
	}
}
