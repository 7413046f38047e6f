package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// TestMarkers: how far a member has read, by what it has read, set back and said itself; the list of rooms, the room and the log say the same.
func TestMarkers(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	bob := chat.Membership{Room: "r", User: "bob"}
	said := func(user chat.UserID) rules.Outcome {
		t.Helper()
		outcomes, _ := commit(t, s, send("r", user, "x", ""))
		return outcomes[0]
	}
	read := func(r usecases.Receipt) usecases.ReadOutcome {
		t.Helper()
		r.Membership = bob
		outcomes, err := s.MarkRead(t.Context(), []usecases.Receipt{r})
		if err != nil {
			t.Fatal(err)
		}
		return outcomes[0]
	}
	want := func(what string, want chat.Marker) {
		t.Helper()
		marker, err := s.Marker(t.Context(), bob)
		list, listErr := s.Rooms(t.Context(), "bob", usecases.RoomsPage{Limit: 9})
		if err != nil || listErr != nil {
			t.Fatal(err, listErr)
		}
		_, out := commit(t, s, rules.TellMarkers{Origin: rules.Origin{Room: "r"}, Users: []chat.UserID{"bob", "eve"}})
		if got := []chat.Marker{marker, list.List[0].Marker}; !cmp.Equal([]chat.Marker{want, want}, got) || len(out.Events) != 1 {
			t.Errorf("%s: the marker and that of the list are %+v, want %+v; %d events", what, got, want, len(out.Events))
		}
	}
	commit(t, s, join("r", "ann"))
	said("ann")
	commit(t, s, join("r", "bob"))
	want("of a newcomer", chat.Marker{N: 1})
	first, second, third := said("ann"), said("ann"), said("ann")
	want("of who has read nothing", chat.Marker{N: 1, Unread: 3})
	if o := read(usecases.Receipt{Message: first.ID}); !o.Moved || !o.Marked || o.Marker != (chat.Marker{Seq: first.Seq, N: 2, Unread: 2}) || o.Message != first.ID {
		t.Errorf("read = %+v", o)
	}
	if o := read(usecases.Receipt{BySeq: true, Seq: third.Seq}); !o.Moved || o.Marker != (chat.Marker{Seq: third.Seq, N: 4}) || o.Message != third.ID {
		t.Errorf("read by a sequence = %+v", o)
	}
	if o := read(usecases.Receipt{BySeq: true, Seq: second.Seq}); o.Moved || o.Marked {
		t.Errorf("read what was read = %+v", o)
	}
	setBack := func(seq uint64) {
		t.Helper()
		if err := s.SetBack(t.Context(), bob, seq, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	setBack(first.Seq)
	want("set back", chat.Marker{Seq: first.Seq, N: 2, Unread: 2})
	readers, err := s.Readers(t.Context(), bob, usecases.ReadersPage{Limit: 9})
	if err != nil || len(readers.List) != 1 || readers.List[0].Seq != third.Seq {
		t.Errorf("others see %+v, %v; want that bob has read up to %d", readers, err, third.Seq)
	}
	if o := read(usecases.Receipt{Message: second.ID}); o.Moved || !o.Marked {
		t.Errorf("read on after setting back = %+v", o)
	}
	want("read on after setting back", chat.Marker{Seq: second.Seq, N: 3, Unread: 1})
	own := said("bob")
	want("said something", chat.Marker{Seq: own.Seq, N: 5})
	setBack(0)
	want("set back before all, what it said included", chat.Marker{N: 1, Unread: 4})
	read(usecases.Receipt{Message: first.ID})
	want("what it had said does not count", chat.Marker{Seq: first.Seq, N: 2, Unread: 3})
	own = said("bob")
	want("what it says now does", chat.Marker{Seq: own.Seq, N: 6})
	if o := read(usecases.Receipt{BySeq: true, Seq: 1 << 50}); o.Marker != (chat.Marker{Seq: own.Seq, N: 6}) || o.Message != own.ID {
		t.Errorf("read up to what there is = %+v", o)
	}
	if none, err := s.Marker(t.Context(), chat.Membership{Room: "r", User: "eve"}); none != (chat.Marker{}) || err != nil {
		t.Errorf("of a stranger: %+v, %v", none, err)
	}
	setBack(0)
	outcomes, out := commit(t, s, send("r", "ann", "x", ""), send("r", "bob", "y", ""), rules.TellMarkers{Origin: rules.Origin{Room: "r"}, Users: []chat.UserID{"bob"}})
	if outcomes[1].N != 8 || len(out.Events) != 3 {
		t.Errorf("a batch with both = %+v, %d events", outcomes, len(out.Events))
	}
	want("in one batch", chat.Marker{Seq: outcomes[1].Seq, N: 8})
}

// TestReadInALargeRoom: the others are told what one has read only where they are few.
func TestReadInALargeRoom(t *testing.T) {
	s := open(t, database(t))
	var commands []rules.Command
	for i := range 100 {
		commands = append(commands, join("r", chat.UserID(fmt.Sprint("user", i))))
	}
	commit(t, s, commands...)
	for _, few := range []bool{true, false} {
		outcomes, _ := commit(t, s, send("r", "user0", "x", ""))
		read, err := s.MarkRead(t.Context(), []usecases.Receipt{{Membership: chat.Membership{Room: "r", User: "user1"}, Message: outcomes[0].ID}})
		if err != nil || !read[0].Moved || !read[0].Marked || read[0].Shown != few {
			t.Errorf("read in a room with few members: %t, gives %+v, %v", few, read, err)
		}
		commit(t, s, join("r", "one more"))
	}
}
