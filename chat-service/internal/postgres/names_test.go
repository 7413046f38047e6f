package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/pg"
)

// TestRenameWhileJoining: a name that changes while its user becomes a member of rooms is the one of all of them.
func TestRenameWhileJoining(t *testing.T) {
	cfg := database(t)
	s, other := open(t, cfg), open(t, cfg)
	pool, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	const rounds = 30
	for round := range rounds {
		user := chat.UserID(fmt.Sprint("u", round))
		var all sync.WaitGroup
		for i, store := range []usecases.Store{s, other} {
			all.Go(func() {
				room := chat.RoomID(fmt.Sprint("r", i))
				enter, back := join(room, user), join(room, user)
				enter.Name, back.Name = chat.Name{Text: "old", Version: 1}, chat.Name{Text: "old", Version: 1}
				for _, commands := range [][]chat.Command{{enter}, {leave(room, user), back}} {
					for {
						_, _, err := store.Prepare(commands).Commit(t.Context())
						if err == nil {
							break
						}
						if !errors.Is(err, usecases.ErrConflict) {
							t.Errorf("Commit: %v", err)
							return
						}
					}
				}
			})
		}
		all.Go(func() {
			if err := s.Rename(t.Context(), []chat.UserName{{User: user, Name: chat.Name{Text: "new", Version: 2}}}); err != nil {
				t.Errorf("Rename: %v", err)
			}
		})
		all.Wait()
	}
	var members, renamed int
	err = pool.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE user_name = 'new' AND name_version = 2) FROM memberships`).Scan(&members, &renamed)
	if err != nil || members != 2*rounds || renamed != members {
		t.Errorf("%d of %d members have the present name, %v, want all of %d", renamed, members, err, 2*rounds)
	}
}
