package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/proto/fault"
)

// TestQuotasOverReplicas: of rooms that one user makes, and joins, at once through several replicas exactly as many succeed as may.
func TestQuotasOverReplicas(t *testing.T) {
	cfg := database(t)
	const rooms, joins, tries = 7, 5, 40
	stores := make([]*postgres.Store, 3)
	for i := range stores {
		pool, err := pg.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		stores[i] = postgres.New(pool, wire.Codec{}, rules.Quotas{Rooms: rooms, JoinRate: 1, JoinBurst: joins})
		stores[i].Open()
	}
	var made, joined atomic.Int64
	do := func(i int, c rules.Command, count *atomic.Int64) {
		tx := stores[i%len(stores)].Prepare([]rules.Command{c})
		for {
			outcomes, _, err := tx.Commit(t.Context())
			switch {
			case errors.Is(err, usecases.ErrConflict):
				continue
			case err != nil:
				t.Errorf("Commit: %v", err)
			case outcomes[0].Err == nil:
				count.Add(1)
			case fault.KindOf(outcomes[0].Err) != fault.RateLimited:
				t.Errorf("outcome = %v, want it done or rate_limited", outcomes[0].Err)
			}
			return
		}
	}
	for i := range tries {
		commit(t, stores[0], rules.Create{Origin: by(chat.RoomID(fmt.Sprint("public", i)), chat.UserID(fmt.Sprint("maker", i))), New: chat.NewRoom{Kind: access.Public}})
	}
	var all sync.WaitGroup
	for i := range tries {
		room := chat.RoomID(fmt.Sprint("new", i))
		all.Go(func() { do(i, rules.Create{Origin: by(room, "ann"), New: chat.NewRoom{Kind: access.Private}}, &made) })
		all.Go(func() { do(i, rules.Join{Origin: by(chat.RoomID(fmt.Sprint("public", i)), "bob")}, &joined) })
	}
	all.Wait()
	if made.Load() != rooms || joined.Load() != joins {
		t.Errorf("%d rooms were made and %d joined, want %d and %d", made.Load(), joined.Load(), rooms, joins)
	}
}
