//go:build linux

package scenario

import (
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/benchtest"
	"github.com/starling-chat/starling/test/bench/internal/inboxes"
	"github.com/starling-chat/starling/test/bench/internal/report"
)

// TestMain is a crowd where it is started as one: the tests start crowds as the program does.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == inboxes.Command {
		if inboxes.Serve(os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// inboxRoomsOf gives the rooms of every user by its id.
func inboxRoomsOf(b *Bench, l inboxLayout) map[string][]string {
	rooms := make(map[string][]string)
	for turn := range l.each {
		for room := range l.rooms() {
			for i := range inboxSize {
				id := b.userID(l.member(turn, room, i))
				rooms[id] = append(rooms[id], l.room(turn, room))
			}
		}
	}
	return rooms
}

// inboxBench is a Bench of two gateways, which have the rooms of a layout in the inboxes of their members, and more in that of one user.
func inboxBench(t *testing.T, l inboxLayout, more ...string) *Bench {
	t.Helper()
	server := &benchtest.Server{}
	b := newBench(t, server)
	b.InboxUsers, b.InboxRooms, b.InboxRate = l.users, l.each, 100
	b.epoch = time.Now()
	second := httptest.NewServer(server)
	t.Cleanup(second.Close)
	b.System.Addresses = append(b.System.Addresses, netip.MustParseAddrPort(second.Listener.Addr().String()))
	rooms := inboxRoomsOf(b, l)
	rooms[b.userID(1)] = append(rooms[b.userID(1)], more...)
	server.Inbox = func(user string) []string { return rooms[user] }
	return b
}

// Everybody is in one room of each turn, and in no room twice.
func TestInboxLayout(t *testing.T) {
	t.Parallel()
	for _, l := range []inboxLayout{{"a", 10, 3}, {"a", 40, 7}, {"a", 200, 50}} {
		b := &Bench{Run: "a"}
		rooms := inboxRoomsOf(b, l)
		if len(rooms) != l.users {
			t.Errorf("%+v: %d users have rooms, want %d", l, len(rooms), l.users)
		}
		for user, list := range rooms {
			slices.Sort(list)
			if got := len(slices.Compact(list)); got != l.each {
				t.Errorf("%+v: %s is in %d rooms, want %d", l, user, got, l.each)
			}
		}
	}
}

// Everybody at either gateway has the inbox, and is told what is said in its rooms.
func TestInboxes(t *testing.T) {
	t.Parallel()
	l := inboxLayout{run: "test", users: 40, each: 3}
	b, r := inboxBench(t, l), &report.Result{}
	if err := b.inboxesOf(t.Context(), r, l); err != nil || len(r.Problems) > 0 {
		t.Fatalf("inboxesOf = problems %q, error %v, want none", r.Problems, err)
	}
	got := figures(r)
	for name, want := range map[string]float64{
		"users": 40, "gateways": 2, "messages said": 100, "inboxes told of a message": 900, "not told within 10 s": 0, "inboxes that were told again": 0,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s = %v, %v, want %v", name, value, ok, want)
		}
	}
}

// An inbox with other rooms than it is to have is a problem; without any, nothing is said.
func TestWrongInboxes(t *testing.T) {
	t.Parallel()
	l := inboxLayout{run: "test", users: 20, each: 2}
	b, r := inboxBench(t, l, "a room too many"), &report.Result{}
	if err := b.inboxesOf(t.Context(), r, l); err != nil {
		t.Fatal(err)
	}
	if want := []string{"41 rooms are in the inboxes, want 40"}; !slices.Equal(r.Problems, want) {
		t.Errorf("problems = %q, want %q", r.Problems, want)
	}
	l.each = 0
	b, r = inboxBench(t, l), &report.Result{}
	if err := b.inboxesOf(t.Context(), r, l); err != nil || len(r.Problems) > 0 {
		t.Fatalf("inboxesOf without inboxes = problems %q, error %v, want none", r.Problems, err)
	}
	if got, ok := figures(r)["messages said"]; ok {
		t.Errorf("without inboxes: %v messages said, want that there is no such figure", got)
	}
}

// A later activity of the room tells of a message, one before it or of another room does not, and one may come before the ack.
func TestTelling(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	tell := newTelling()
	tell.say(1, "a", []int{0, 1, 2}, 0)
	tell.say(2, "b", []int{1, 2}, 1)
	tell.say(3, "b", []int{1, 2}, 1)
	tell.take([]inboxes.Event{
		{Kind: inboxes.Sent, ID: 1, At: 100 * ms},
		{Kind: inboxes.Activity, User: 1, Room: "a", Seq: 6, At: 110 * ms},
		{Kind: inboxes.Activity, User: 2, Room: "c", Seq: 9, At: 120 * ms},
		{Kind: inboxes.Activity, User: 1, Room: "a", Seq: 8, At: 150 * ms},
		{Kind: inboxes.Acked, ID: 1, Seq: 7, At: 160 * ms},
		{Kind: inboxes.Sent, ID: 2, At: 200 * ms},
		{Kind: inboxes.Acked, ID: 2, Seq: 3, At: 210 * ms},
		{Kind: inboxes.Sent, ID: 3, At: 200 * ms},
		{Kind: inboxes.Refused, ID: 3, At: 210 * ms},
	})
	if tell.complete() {
		t.Error("complete while somebody has not been told")
	}
	tell.take([]inboxes.Event{{Kind: inboxes.Activity, User: 2, Room: "a", Seq: 7, At: 1700 * ms}})
	r := &report.Result{}
	tell.report(r)
	got := figures(r)
	for name, want := range map[string]float64{
		"messages said": 3, "inboxes told of a message": 2, "told max": 1600, "told later than 1.5 s": 1, "not told within 10 s": 1,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	if p50 := got["told p50"]; p50 < 50 || p50 > 51 {
		t.Errorf("told p50 = %v, want 50", p50)
	}
	want := []string{"1 members were not told of a message within 10s", "1 messages were not acknowledged, 1 of them refused"}
	if !slices.Equal(r.Problems, want) {
		t.Errorf("problems = %q, want %q", r.Problems, want)
	}
}
