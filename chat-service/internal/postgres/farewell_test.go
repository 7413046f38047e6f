package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/wire"
)

// TestFarewell: every member of a deleted room is told once, in bounded transactions, whoever is at it at the same time and however far a
// replica came before it ended; what is told is in the outbox.
func TestFarewell(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	const room, others, bound = chat.RoomID("r"), 1202, 500
	commit(t, s, rules.Create{Origin: by(room, "ann"), New: chat.NewRoom{Kind: access.Public}})
	conn, err := pgx.Connect(t.Context(), cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	const crowd = `INSERT INTO chat.memberships (room_id, user_id, user_name, role) SELECT $1, 'u' || n, 'U', 'member' FROM generate_series(1, $2::integer) AS n`
	if _, err := conn.Exec(t.Context(), crowd, string(room), others); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Farewell(t.Context(), room); err != nil || len(out.Events) != 0 {
		t.Errorf("members of a room that is there are told %d facts, %v", len(out.Events), err)
	}
	commit(t, s, rules.Delete{Origin: by(room, "ann")})
	if out, err := s.Farewell(t.Context(), room); err != nil || len(out.Events) != bound || out.ID == (chat.OutboxID{}) {
		t.Fatalf("the first %d are told %d facts, %v", bound, len(out.Events), err)
	}
	var replicas sync.WaitGroup
	for range 3 {
		other := open(t, cfg)
		replicas.Go(func() {
			if _, err := other.Purge(context.Background(), 0); err != nil {
				t.Errorf("Purge: %v", err)
			}
		})
	}
	replicas.Wait()
	for n := range others + 1 {
		user, before := chat.UserID(fmt.Sprint("u", n)), []string(nil)
		if n == 0 {
			user, before = "ann", []string{"1 me:room-added"}
		}
		events, _, err := s.LogEvents(t.Context(), user, chat.LogPage{Limit: 10})
		want := append(before, fmt.Sprint(len(before)+1, " me:room-removed"))
		if got := told(t, events); !slices.Equal(got, want) || err != nil {
			t.Fatalf("%s is told %q, %v, want %q", user, got, err, want)
		}
	}
	rows, err := conn.Query(t.Context(), `SELECT payload FROM chat.outbox`)
	if err != nil {
		t.Fatal(err)
	}
	out := 0
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&payload}, func() error {
		events, err := wire.Codec{}.SplitBatch(payload)
		for _, e := range events {
			if _, isLog := chat.UserOf(e.Room); isLog {
				out++
			}
		}
		return err
	})
	if err != nil || out != others+2 { // ann was told of the room as well
		t.Errorf("the outbox has %d facts of logs, %v, want %d", out, err, others+2)
	}
}
