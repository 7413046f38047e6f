//go:build sabotage

package chatservice

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
)

func sabotagedStore(t *testing.T) *postgres.Store {
	t.Helper()
	store, _ := sabotagedPool(t)
	return store
}

func sabotagedPool(t *testing.T) (*postgres.Store, *pgxpool.Pool) {
	t.Helper()
	pool, err := pg.Open(t.Context(), pgtest.New(t, postgres.Migrations(), "chat"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	store := postgres.New(pool, wire.Codec{}, rules.Quotas{})
	store.Open()
	return store, pool
}

var ann = rules.Origin{Room: "r", User: "ann", Name: chat.Name{Text: "Ann"}}

func commitTo(t *testing.T, store usecases.Store, c rules.Command) (rules.Outcome, chat.Outgoing) {
	t.Helper()
	outcomes, out, err := store.Prepare([]rules.Command{c}).Commit(t.Context())
	if err != nil || outcomes[0].Err != nil {
		t.Fatalf("Commit(%v) = %v, %v", c, outcomes, err)
	}
	return outcomes[0], out
}

// TestLosingStore: the lost message looks like any other, and is not there.
func TestLosingStore(t *testing.T) {
	store := sabotagedStore(t)
	lose := false
	broken := losingStore{Store: store, lose: func() bool { return lose }}
	commitTo(t, broken, rules.Join{Origin: ann, Create: access.Public})
	lose = true
	o, out := commitTo(t, broken, rules.Send{Origin: ann, Content: "lost", Type: "text"})
	if o.Seq != 2 || chat.SeqOf(o.ID) != 2 || !o.Changed || len(out.Events) != 1 {
		t.Errorf("lost commit = %+v with %d events, want seq 2 and one event", o, len(out.Events))
	}
	if heads, err := store.Heads(t.Context(), []chat.RoomID{"r"}, ""); err != nil || heads["r"].Seq != 1 {
		t.Errorf("Heads = %v, %v, want 1: nothing was written", heads, err)
	}
}

// TestOutboxlessStore: the message is there, and no row of the outbox.
func TestOutboxlessStore(t *testing.T) {
	store := sabotagedStore(t)
	broken := outboxlessStore{Store: store, outbox: store}
	commitTo(t, broken, rules.Join{Origin: ann, Create: access.Public})
	if o, out := commitTo(t, broken, rules.Send{Origin: ann, Content: "x", Type: "text"}); o.Seq != 2 || len(out.Events) != 1 {
		t.Errorf("commit = %+v with %d events, want seq 2 and one event", o, len(out.Events))
	}
	if rows, _, err := store.Lag(t.Context()); err != nil || rows != 0 {
		t.Errorf("Lag = %d, %v, want no row", rows, err)
	}
}

// TestLaggard: a room stands as it did before, and those that are read for the first time as they do.
func TestLaggard(t *testing.T) {
	now := []chat.Activity{{Room: "r", Seq: 1, N: 1}}
	l := laggard{read: func(context.Context, []chat.RoomID) ([]chat.Activity, error) { return slices.Clone(now), nil }, last: map[chat.RoomID]chat.Activity{}}
	for _, want := range []uint64{1, 1, 2} {
		if list, err := l.activity(t.Context(), nil); err != nil || len(list) != 1 || list[0].Seq != want || list[0].N != want {
			t.Errorf("activity = %+v, %v, want the room at %d", list, err, want)
		}
		now[0].Seq++
		now[0].N++
	}
}

// TestSkippingStore: who asks what has changed does not hear of the edit, and who reads the message does.
func TestSkippingStore(t *testing.T) {
	store, pool := sabotagedPool(t)
	broken := skippingStore{store, pool}
	commitTo(t, broken, rules.Join{Origin: ann, Create: access.Public})
	said, _ := commitTo(t, broken, rules.Send{Origin: ann, Content: "teh", Type: "text"})
	if o, out := commitTo(t, broken, rules.Edit{Origin: ann, Message: said.ID, Content: new("the")}); o.Seq != said.Seq+1 || len(out.Events) != 1 {
		t.Errorf("commit = %+v with %d events, want the next seq and one event", o, len(out.Events))
	}
	list, err := store.Messages(t.Context(), "r", []uint64{said.Seq})
	if err != nil || len(list) != 1 || list[0].Content != "the" || list[0].Changed != 0 {
		t.Errorf("Messages = %+v, %v, want the new content with the old version", list, err)
	}
	if changes, err := store.Changes(t.Context(), "r", said.Seq, 10); err != nil || len(changes.Seqs) != 0 {
		t.Errorf("Changes = %+v, %v, want none", changes, err)
	}
}
