package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
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
				for _, commands := range [][]rules.Command{{enter}, {leave(room, user), back}} {
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

// TestNamesOfMembersMadeByOthers: who is made a member by another one is called by the name that was told before, also by one that has no
// version; or by the id, until one is told.
func TestNamesOfMembersMadeByOthers(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	pool, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	tell := func(user chat.UserID, name string, version int64) {
		t.Helper()
		if err := s.Rename(t.Context(), []chat.UserName{{User: user, Name: chat.Name{Text: name, Version: version}}}); err != nil {
			t.Fatal(err)
		}
	}
	tell("bob", "Bob", 7)
	tell("cid", "Cid", 0)
	by := func(room chat.RoomID) rules.Origin {
		return rules.Origin{Room: room, User: "ann", Name: chat.Name{Text: "Ann", Version: 1}}
	}
	var others []rules.Invited
	for _, user := range []chat.UserID{"bob", "cid", "dan", "eve"} {
		others = append(others, rules.Invited{User: user})
	}
	commit(t, s, rules.Create{Origin: by("made"), New: chat.NewRoom{Kind: access.Private}, Members: others}, rules.Open{Origin: by("opened"), Others: others})
	commit(t, s, rules.Create{Origin: by("filled"), New: chat.NewRoom{Kind: access.Private}})
	for _, who := range others {
		commit(t, s, rules.Add{Origin: by("filled"), Who: who})
	}
	want := func(names string) {
		t.Helper()
		for _, room := range []string{"made", "opened", "filled"} {
			var got string
			err := pool.QueryRow(t.Context(), `SELECT string_agg(user_name, ' ' ORDER BY user_id) FROM memberships WHERE room_id = $1`, room).Scan(&got)
			if err != nil || got != names {
				t.Errorf("members of the room that was %s are called %s, %v, want %s", room, got, err, names)
			}
		}
	}
	want("Ann Bob Cid dan eve")
	tell("dan", "Dan", 9)
	tell("eve", "Eve", 0)
	tell("bob", "Old", 6)
	want("Ann Bob Cid Dan Eve")
}
