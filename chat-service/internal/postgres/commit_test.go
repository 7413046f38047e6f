package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/proto/fault"
)

func send(room chat.RoomID, user chat.UserID, content, id string) rules.Send {
	return rules.Send{Origin: by(room, user), Content: content, Type: "text", ClientMsgID: id}
}

func join(room chat.RoomID, user chat.UserID) rules.Join {
	return rules.Join{Origin: by(room, user), Create: access.Public}
}

func leave(room chat.RoomID, user chat.UserID) rules.Leave {
	return rules.Leave{Origin: by(room, user)}
}

func by(room chat.RoomID, user chat.UserID) rules.Origin {
	return rules.Origin{Room: room, User: user, Name: chat.Name{Text: "U"}}
}

func commit(t *testing.T, s *postgres.Store, commands ...rules.Command) ([]rules.Outcome, chat.Outgoing) {
	t.Helper()
	outcomes, out, err := s.Prepare(commands).Commit(t.Context())
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return outcomes, out
}

// seqs gives the sequences of a room's log, and fails where they are not 1..head.
func seqs(t *testing.T, s *postgres.Store, room chat.RoomID) (head uint64) {
	t.Helper()
	var got []uint64
	for {
		events, h, err := s.Events(t.Context(), room, uint64(len(got)), 0, 700)
		if err != nil {
			t.Fatal(err)
		}
		head = h
		for _, e := range events {
			got = append(got, e.Seq)
		}
		if len(events) < 700 {
			break
		}
	}
	for i, seq := range got {
		if seq != uint64(i)+1 {
			t.Fatalf("room %s: event %d has seq %d", room, i, seq)
		}
	}
	if uint64(len(got)) != head {
		t.Errorf("room %s has %d events, head %d", room, len(got), head)
	}
	return head
}

func TestSequencesAreContiguous(t *testing.T) {
	cfg := database(t)
	const rooms, users, each = 5, 20, 25
	var replicas []*usecases.Writer
	var published []*recorder
	var store *postgres.Store
	for range 2 {
		store = open(t, cfg)
		r := &recorder{}
		published = append(published, r)
		replicas = append(replicas, writer(t, store, r))
	}
	var mu sync.Mutex
	acked := map[chat.RoomID]map[uint64]string{}
	var wg sync.WaitGroup
	for u := range users {
		wg.Go(func() {
			room, user := chat.RoomID(fmt.Sprint("room ", u%rooms)), chat.UserID(fmt.Sprint("user ", u))
			if _, err := replicas[u%2].Do(t.Context(), join(room, user)); err != nil {
				t.Errorf("join: %v", err)
			}
			last := uint64(0)
			for i := range each {
				content := fmt.Sprint(u, "/", i)
				o, err := replicas[i%2].Do(t.Context(), send(room, user, content, ""))
				if err != nil {
					t.Errorf("send: %v", err)
					return
				}
				if o.Seq <= last {
					t.Errorf("seq %d after %d was acked", o.Seq, last)
				}
				last = o.Seq
				mu.Lock()
				if acked[room] == nil {
					acked[room] = map[uint64]string{}
				}
				if other, taken := acked[room][o.Seq]; taken {
					t.Errorf("seq %d of %s acked for %q and %q", o.Seq, room, other, content)
				}
				acked[room][o.Seq] = content
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for r := range rooms {
		room := chat.RoomID(fmt.Sprint("room ", r))
		head := seqs(t, store, room)
		if want := uint64(users / rooms * (each + 1)); head != want {
			t.Errorf("head of %s = %d, want %d", room, head, want)
		}
		after := uint64(0)
		view, err := store.View(t.Context(), room, chat.UserID(fmt.Sprint("user ", r)), usecases.Page{After: &after, Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		stored := map[uint64]string{}
		for _, m := range view.Messages {
			stored[m.Seq] = m.Content
		}
		if diff := cmp.Diff(acked[room], stored); diff != "" {
			t.Errorf("messages of %s (-acked +stored):\n%s", room, diff)
		}
	}
	// Each replica published its events of a room in the order of their sequence.
	for _, p := range published {
		last := map[chat.RoomID]uint64{}
		for _, e := range p.events {
			if e.Seq <= last[e.Room] {
				t.Errorf("published %s %d after %d", e.Room, e.Seq, last[e.Room])
			}
			last[e.Room] = e.Seq
		}
	}
}

func TestSameClientMessageIDInOneBatch(t *testing.T) {
	s := open(t, database(t))
	outcomes, out := commit(t, s, join("r", "ann"), send("r", "ann", "first", "c"), send("r", "ann", "second", "c"),
		send("r", "ann", "third", "d"))
	if outcomes[1].Position != outcomes[2].Position || outcomes[2].Changed || outcomes[3].Seq != 3 || len(out.Events) != 4 { // and what ann is told
		t.Errorf("outcomes = %+v with %d events, want the repeat to be the first", outcomes, len(out.Events))
	}
	seqs(t, s, "r")
}

func TestSameClientMessageIDOnTwoReplicas(t *testing.T) {
	cfg := database(t)
	a, b := open(t, cfg), open(t, cfg)
	commit(t, a, join("r", "ann"))
	first, err := writer(t, a, nowhere{}).Do(t.Context(), send("r", "ann", "first", "c"))
	if err != nil {
		t.Fatal(err)
	}
	// Another replica, as after a restart: it knows nothing and finds the repeat by the unique index.
	published := &recorder{}
	w := writer(t, b, published)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			again, err := w.Do(t.Context(), send("r", "ann", "other", "c"))
			if err != nil || again.Position != first.Position || !again.CreatedAt.Equal(first.CreatedAt) {
				t.Errorf("repeat = %+v, %v, want %+v", again, err, first)
			}
			if _, err := w.Do(t.Context(), send("r", "ann", "new", fmt.Sprint(i))); err != nil {
				t.Errorf("send beside a repeat: %v", err)
			}
		})
	}
	wg.Wait()
	if head := seqs(t, b, "r"); head != 12 || len(published.events) != 10 {
		t.Errorf("head = %d, published %d, want 12 and 10", head, len(published.events))
	}
	// A race: the same new id on both replicas.
	wa := writer(t, a, nowhere{})
	for i := range 20 {
		id := fmt.Sprint("race ", i)
		var oa, ob rules.Outcome
		wg.Go(func() { oa, _ = wa.Do(t.Context(), send("r", "ann", "a", id)) })
		wg.Go(func() { ob, _ = w.Do(t.Context(), send("r", "ann", "b", id)) })
		wg.Wait()
		if oa.Position != ob.Position || oa.Seq == 0 {
			t.Errorf("race: %+v and %+v, want the same", oa, ob)
		}
	}
	if head := seqs(t, b, "r"); head != 32 {
		t.Errorf("head after the races = %d, want 32", head)
	}
}

func TestRefusalsDoNotTouchTheBatch(t *testing.T) {
	s := open(t, database(t))
	outcomes, _ := commit(t, s,
		join("r", "ann"), send("r", "eve", "x", ""), send("nowhere", "ann", "x", ""), send("r", "ann", "ok", ""), leave("nowhere", "ann"))
	var kinds []fault.Kind
	for _, o := range outcomes {
		kinds = append(kinds, fault.KindOf(o.Err))
	}
	if diff := cmp.Diff([]fault.Kind{"", fault.Forbidden, fault.NotFound, "", ""}, kinds); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	if head := seqs(t, s, "r"); head != 2 {
		t.Errorf("head = %d, want 2", head)
	}
}

// poison is refused by PostgreSQL, whatever the domain checks.
func TestPoisonFailsAlone(t *testing.T) {
	s := open(t, database(t))
	commit(t, s, join("r", "ann"))
	w := runWriter(t, s, nowhere{}, nowhere{}, usecases.WriterConfig{Lanes: 1, BatchMax: 50, BatchWait: 20e6, Queue: 100, Timeout: 30 * time.Second})
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			content := fmt.Sprint(i)
			if i == 5 {
				content = "a\x00b"
			}
			if _, err := w.Do(t.Context(), send("r", "ann", content, "")); (err != nil) != (i == 5) {
				t.Errorf("send %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if head := seqs(t, s, "r"); head != 10 {
		t.Errorf("head = %d, want 10", head)
	}
}

func TestMembership(t *testing.T) {
	s := open(t, database(t))
	outcomes, out := commit(t, s, join("r", "ann"), join("r", "ann"), join("r", "bob"), leave("r", "ann"), leave("r", "ann"),
		join("r", "ann"), leave("r", "eve"))
	var changed []bool
	for _, o := range outcomes {
		changed = append(changed, o.Changed)
	}
	if diff := cmp.Diff([]bool{true, false, true, true, false, true, false}, changed); diff != "" || len(out.Events) != 8 { // and what they are told
		t.Errorf("changed (-want +got):\n%s%d events", diff, len(out.Events))
	}
	role := func(user chat.UserID) access.Role {
		t.Helper()
		v, err := s.View(t.Context(), "r", user, usecases.Page{Limit: 1})
		if err != nil || !v.Member {
			t.Fatalf("View(%s) = %+v, %v, want a member", user, v, err)
		}
		return v.Role
	}
	if role("bob") != access.RoleOwner || role("ann") != access.RoleMember {
		t.Errorf("roles of bob and ann = %s, %s, want owner, member", role("bob"), role("ann"))
	}
	commit(t, s, leave("r", "bob"), leave("r", "ann"))
	if outcomes, _ := commit(t, s, join("r", "cid")); !outcomes[0].Changed || role("cid") != access.RoleOwner {
		t.Errorf("the first into an empty room is %s, want owner", role("cid"))
	}
	users, err := s.Members(t.Context(), "r")
	if err != nil || !slices.Equal(users, []chat.UserID{"cid"}) {
		t.Errorf("Members = %v, %v, want cid", users, err)
	}
	seqs(t, s, "r")
}

func withoutPostgres(cfg pg.Config) pg.Config {
	cfg.URL = "postgres://nobody@127.0.0.1:1/none"
	return cfg
}

func TestDatabaseAway(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	w := writer(t, s, nowhere{})
	if _, err := w.Do(t.Context(), join("r", "ann")); err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(t.Context(), cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(context.Background()) }()
	// Backends that die under the service cost nothing but a retry.
	const kill = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()`
	if _, err := admin.Exec(t.Context(), kill); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Do(t.Context(), send("r", "ann", "after the restart", "")); err != nil {
		t.Errorf("send after the backends died: %v", err)
	}
	if _, err := admin.Exec(t.Context(), kill); err != nil {
		t.Fatal(err)
	}
	if rooms, err := s.Rooms(t.Context(), "ann", usecases.RoomsPage{Limit: 9}); err != nil || len(rooms.List) != 1 || s.Ready(t.Context()) != nil {
		t.Errorf("Rooms after the backends died = %v, %v, Ready %v, want one room and ready", rooms, err, s.Ready(t.Context()))
	}
	seqs(t, s, "r")

	s2 := open(t, withoutPostgres(cfg))
	w2 := writer(t, s2, nowhere{})
	for range 2 {
		_, err = w2.Do(t.Context(), send("r", "ann", "x", ""))
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Unavailable || f.RetryAfter == 0 {
			t.Errorf("send without PostgreSQL = %v, want unavailable with a time", err)
		}
	}
	if err := s2.Ready(t.Context()); err == nil || errors.Is(err, pg.ErrCircuitOpen) {
		t.Errorf("Ready without PostgreSQL = %v, want what became of asking", err)
	}
	_, err = s2.Rooms(t.Context(), "ann", usecases.RoomsPage{Limit: 9})
	wantRefused(t, "Rooms", err)
	_, _, err = s2.Prepare([]rules.Command{send("r", "ann", "x", "")}).Commit(t.Context())
	wantRefused(t, "Commit", err)
	closed := postgres.New(nil, wire.Codec{}, rules.Quotas{})
	if closed.Ready(t.Context()) == nil {
		t.Error("Ready before the migrations = nil, want an error")
	}
	if _, _, err := closed.Prepare([]rules.Command{send("r", "ann", "x", "")}).Commit(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Commit before the migrations = %v, want unavailable", err)
	}
}

// wantRefused fails unless PostgreSQL was not even asked.
func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Unavailable || f.Message != "Service unavailable" ||
		f.RetryAfter != 500*time.Millisecond || !errors.Is(err, pg.ErrCircuitOpen) {
		t.Errorf("%s while the circuit is open = %v, want refused for 500 ms", what, err)
	}
}
