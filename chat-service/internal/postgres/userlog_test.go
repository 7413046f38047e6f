package postgres_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// told gives facts of a log as clients get them, and their sequences.
func told(t *testing.T, events []chat.EncodedEvent) (list []string) {
	t.Helper()
	for _, e := range events {
		var event eventv1.RoomEvent
		if err := proto.Unmarshal(e.Bytes, &event); err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprint(event.GetSeq(), " ", event.GetEmit().GetEvent()))
	}
	return list
}

// TestUserLog: facts are stored and go out with what they tell of; they are read by sequence and by time.
func TestUserLog(t *testing.T) {
	s := open(t, database(t))
	read := func(page chat.LogPage, want ...string) {
		t.Helper()
		page.Limit = max(page.Limit, 2)
		events, head, err := s.LogEvents(t.Context(), "bob", page)
		if diff := cmp.Diff(want, told(t, events)); diff != "" || err != nil || head != 3 {
			t.Errorf("%+v: head %d, %v, (-want +got):\n%s", page, head, err, diff)
		}
	}
	if _, head, err := s.LogEvents(t.Context(), "bob", chat.LogPage{Limit: 1}); head != 0 || err != nil {
		t.Errorf("a log of which nobody heard stands at %d, %v", head, err)
	}
	before := time.Now().Add(-time.Hour)
	_, out := commit(t, s, join("r", "ann"), join("r", "bob"))
	if diff := cmp.Diff([]string{"1 room:user-joined", "2 room:user-joined", "1 me:room-added", "1 me:room-added"}, told(t, out.Events)); diff != "" {
		t.Errorf("what goes out (-want +got):\n%s", diff)
	}
	commit(t, s, send("r", "bob", "hi", ""), rules.Remove{Origin: by("r", "ann"), Who: "bob"})
	middle := time.Now()
	if outcomes, _ := commit(t, s, join("r", "bob"), join("r", "bob")); outcomes[1].Changed {
		t.Error("bob joins twice")
	}
	read(chat.LogPage{}, "1 me:room-added", "2 me:room-removed")
	read(chat.LogPage{After: 2}, "3 me:room-added")
	read(chat.LogPage{After: 1, To: 2}, "2 me:room-removed")
	read(chat.LogPage{After: 3})
	read(chat.LogPage{After: 4}, "3 me:reset")
	read(chat.LogPage{Since: middle}, "3 me:room-added")
	read(chat.LogPage{Since: before, Limit: 1}, "1 me:room-added", "2 me:room-removed")
	read(chat.LogPage{Since: time.Now().Add(time.Hour)})
	heads, err := s.LogHeads(t.Context(), []chat.UserID{"ann", "bob", "eve"})
	if diff := cmp.Diff(map[chat.UserID]uint64{"ann": 1, "bob": 3}, heads); diff != "" || err != nil {
		t.Errorf("LogHeads: %v (-want +got):\n%s", err, diff)
	}
	seqs(t, s, "r")
}

// TestGrownLogs: whoever asks on and on hears of every log that has grown, however small the pages are.
func TestGrownLogs(t *testing.T) {
	s := open(t, database(t))
	since := time.Now().Add(-time.Minute)
	if g, err := s.GrownLogs(t.Context(), since, 10); err != nil || len(g.Heads) != 0 || !g.Until.Equal(since) || g.More {
		t.Errorf("nothing has grown: %+v, %v", g, err)
	}
	commit(t, s, join("r", "ann"), join("r", "bob"), join("s", "ann"))
	got := map[chat.UserID]uint64{}
	for more, from := true, since; more; {
		g, err := s.GrownLogs(t.Context(), from, 1)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(got, g.Heads)
		more, from = g.More, g.Until
	}
	if diff := cmp.Diff(map[chat.UserID]uint64{"ann": 2, "bob": 1}, got); diff != "" {
		t.Errorf("grown (-want +got):\n%s", diff)
	}
	g, err := s.GrownLogs(t.Context(), since, 10)
	if err != nil || g.More || g.Until.After(time.Now()) || len(g.Heads) != 2 {
		t.Errorf("all at once: %+v, %v", g, err)
	}
}

// TestLogsUnderRaces: many replicas tell many users of many rooms at once; every log has its numbers without holes.
func TestLogsUnderRaces(t *testing.T) {
	cfg := database(t)
	const replicas, rooms, users = 3, 8, 4
	var running sync.WaitGroup
	// do has w write a command, again as long as w refuses it because PostgreSQL is slow: a busy machine is no fault of the logs.
	do := func(w *usecases.Writer, what string, command rules.Command) {
		for began := time.Now(); ; time.Sleep(pg.CircuitPause) {
			_, err := w.Do(context.Background(), command)
			if err == nil {
				return
			}
			if fault.KindOf(err) != fault.Unavailable || time.Since(began) > 30*time.Second {
				t.Errorf("%s: %v", what, err)
				return
			}
		}
	}
	for i := range replicas {
		w := writer(t, open(t, cfg), nowhere{})
		for room := range rooms {
			running.Go(func() {
				for user := range users {
					id := chat.RoomID(fmt.Sprint(i, "-", room))
					create := rules.Create{Origin: by(id, "ann"), New: chat.NewRoom{Kind: access.Private}}
					for u := range users {
						create.Members = append(create.Members, rules.Invited{User: chat.UserID(fmt.Sprint("u", (u+room)%users)), Role: access.RoleMember})
					}
					if user == 0 {
						do(w, "create "+string(id), create)
					}
					do(w, "leave "+string(id), leave(id, chat.UserID(fmt.Sprint("u", user))))
				}
			})
		}
	}
	running.Wait()
	s := open(t, cfg)
	for user := range users {
		id := chat.UserID(fmt.Sprint("u", user))
		events, head, err := s.LogEvents(t.Context(), id, chat.LogPage{Limit: 1000})
		if err != nil || head != 2*replicas*rooms || len(events) != int(head) {
			t.Fatalf("the log of %s stands at %d with %d facts, %v", id, head, len(events), err)
		}
		for i, e := range events {
			if e.Seq != uint64(i+1) {
				t.Fatalf("the log of %s has %d in place %d", id, e.Seq, i+1)
			}
		}
	}
}

// TestLogsKeepWhatCounts: markers replace those before them of the same room, so that who reads a lot is not told to begin anew after a short absence:
// facts that still count are kept, whatever their age, and a page for who repairs a gap is without holes all the same.
func TestLogsKeepWhatCounts(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	commit(t, s, join("r", "ann"), join("r", "bob"), join("q", "bob"), join("x", "bob")) // 1 to 3 of bob's log
	tell := func(room chat.RoomID, times int) {
		commands := make([]rules.Command, times)
		for i := range commands {
			commands[i] = rules.TellMarkers{Origin: rules.Origin{Room: room}, Users: []chat.UserID{"bob"}}
		}
		commit(t, s, commands...)
	}
	for range 6 {
		tell("r", 10) // 4 to 63
	}
	tell("x", 1) // 64: the last one of x
	for range 49 {
		tell("q", 10)
		tell("r", 17) // up to 1387
	}
	page := func(p chat.LogPage) []string {
		t.Helper()
		events, head, err := s.LogEvents(t.Context(), "bob", p)
		if err != nil || head != 1387 {
			t.Fatal(head, err)
		}
		return told(t, events)
	}
	all := page(chat.LogPage{Limit: 5000})
	// Trimmed at 1306 last: up to 306 only what counts is left.
	want := []string{"1 me:room-added", "2 me:room-added", "3 me:room-added", "64 me:marker", "307 me:marker"}
	if diff := cmp.Diff(want, all[:5]); diff != "" || len(all) != 4+1387-306 {
		t.Errorf("a device that was away for long gets %d events (-want +got):\n%s", len(all), diff)
	}
	for after, want := range map[uint64]string{2: "3 me:room-added", 3: "64 me:marker", 40: "64 me:marker", 64: "307 me:marker", 200: "307 me:marker", 500: "501 me:marker", 1388: "1387 me:reset"} {
		if got := page(chat.LogPage{After: after, Limit: 5000}); got[0] != want {
			t.Errorf("after %d comes %s, want %s", after, got[0], want)
		}
	}
	for _, test := range []struct {
		page chat.LogPage
		want []string
	}{
		{chat.LogPage{After: 1, To: 5, Limit: 9}, []string{"2 me:room-added", "3 me:room-added", "4 ", "5 "}},
		{chat.LogPage{After: 1, To: 5, Limit: 3}, []string{"2 me:room-added", "3 me:room-added", "4 "}},
		{chat.LogPage{After: 62, To: 66, Limit: 9}, []string{"63 ", "64 me:marker", "65 ", "66 "}},
		{chat.LogPage{After: 304, To: 308, Limit: 9}, []string{"305 ", "306 ", "307 me:marker", "308 me:marker"}},
		{chat.LogPage{After: 100, To: 101, Limit: 9}, []string{"101 "}},
	} {
		if diff := cmp.Diff(test.want, page(test.page)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.page, diff)
		}
	}
}
