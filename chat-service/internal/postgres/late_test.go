package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestMarksAreNotLate: a receipt that was given up, and a marker that was to be set back, stay as they are.
func TestMarksAreNotLate(t *testing.T) {
	s := open(t, database(t))
	bob := chat.Membership{Room: "r", User: "bob"}
	commit(t, s, join("r", "ann"), join("r", "bob"))
	outcomes, _ := commit(t, s, send("r", "ann", "x", ""))
	first := outcomes[0]
	outcomes, _ = commit(t, s, send("r", "ann", "y", ""))
	second := outcomes[0]
	read := func(of chat.MessageID, until ...time.Time) error {
		receipts := []usecases.Receipt{{Membership: chat.Membership{Room: "r", User: "ann"}, Message: first.ID}}
		for _, u := range until {
			receipts = append(receipts, usecases.Receipt{Membership: bob, Message: of, Until: u})
		}
		_, err := s.MarkRead(t.Context(), receipts)
		return err
	}
	want := func(what string, err error, word string, seq uint64) {
		t.Helper()
		if m, _ := s.Marker(t.Context(), bob); faulttest.Word(err) != word || m.Seq != seq {
			t.Errorf("%s = %v, and has read up to %d; want %q and %d", what, err, m.Seq, word, seq)
		}
	}
	past, future := time.Now().Add(-time.Millisecond), time.Now().Add(time.Hour)
	want("read in time", read(first.ID, future), "ok", first.Seq)
	want("read late", read(second.ID, future, past, time.Time{}), "unavailable", first.Seq)
	want("set back late", s.SetBack(t.Context(), bob, 0, past), "unavailable", first.Seq)
	want("set back in time", s.SetBack(t.Context(), bob, 0, future), "ok", 0)
}

// TestBeginBy: what was begun in time, and broke, is not begun again when it is late; and then nobody knows whether it was done.
func TestBeginBy(t *testing.T) {
	pool, err := pg.Open(t.Context(), database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	broke := errors.New("broke")
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		until, begun := time.Now().Add(wait), 0
		f := roundtrip.BeginBy(until, pool, func(context.Context, *pgxpool.Conn) error {
			begun++
			<-time.After(time.Until(until) + time.Millisecond)
			return broke
		})
		if err := f(t.Context()); begun == 0 && faulttest.Word(err) == "unavailable" {
			continue // a slow machine
		} else if !errors.Is(err, broke) {
			t.Fatalf("the first try = %v, want its own error", err)
		}
		if err := f(t.Context()); begun != 1 || faulttest.Word(err) != "timeout" {
			t.Errorf("the second try, late = %v, and %d were begun; want timeout and 1", err, begun)
		}
		return
	}
}
