package hub

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starling-chat/starling/gateway/internal/sequence"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// long is an event of half a run's size.
func long(seq uint64) sequence.Event {
	e := event(seq)
	e.Args = fmt.Appendf(nil, `[%d,{"x":"%s"}]`, seq, strings.Repeat("x", runBytes/2))
	return e
}

// seqs gives the sequences of the events that came.
func seqs(t *testing.T, packets []string) (list []uint64) {
	t.Helper()
	for _, p := range packets {
		var n uint64
		if _, err := fmt.Sscanf(p, `42["e",%d`, &n); err == nil {
			list = append(list, n)
		}
	}
	return list
}

// TestNothingIsWrittenUnderTheLock has every write call the hub for the same room: it would wait for itself if the room's
// shard were locked.
func TestNothingIsWrittenUnderTheLock(t *testing.T) {
	sockets := sessiontest.NewSockets(t)
	h := newHub()
	writes := 0
	member := func(user string) (*session.Socket, *sessiontest.Conn) {
		s, c := sockets.New(t, "/", user)
		c.Due = true // every event makes a flush due
		c.OnWrite = func() {
			writes++
			if sh := h.shard("r"); !sh.mu.TryLock() {
				t.Error("a conn is written to while the room's shard is locked")
			} else {
				sh.mu.Unlock()
			}
			h.Heads()
		}
		return s, c
	}
	expect := func(what string, act func()) {
		t.Helper()
		before := writes
		if act(); writes == before {
			t.Errorf("%s wrote nothing, want it to: this test would not see a lock that is held", what)
		}
	}
	a, ca := member("a")
	b, _ := member("b")
	expect("joining", func() { enter(t, h, a, 0) })
	expect("an event", func() { apply(h, event(1)) })
	expect("many events", func() {
		var flushes transport.FlushSet
		h.ApplyAll("r", []sequence.Event{long(2), long(3), long(4), long(5)}, 0, &flushes)
	})
	kick := event(6)
	kick.EvictUser = "a"
	h.BeginJoin(a, "r", 0)
	apply(h, kick)
	expect("aborting", func() { h.AbortJoin(a, "r") })
	if len(h.evicted) != 1 || h.evicted[0] != "a/r" {
		t.Errorf("evicted = %v, want a", h.evicted)
	}
	enter(t, h, b, 6)
	h.BeginJoin(b, "r", 0)
	for seq := uint64(7); seq <= maxBuffered+8; seq++ {
		apply(h, event(seq))
	}
	expect("losing track of a member", func() { h.AbortJoin(b, "r") })
	if got := seqs(t, ca.Packets()); fmt.Sprint(got) != "[1 2 3 4 5 6]" {
		t.Errorf("a got %v, want 1 to 6", got)
	}
}

// TestEventsThatComeBetweenTwoRuns: while a long batch goes out the lock is given back. What comes in these moments goes out
// behind the batch; a socket that joins gets its history and then what is left, and who leaves gets nothing more.
func TestEventsThatComeBetweenTwoRuns(t *testing.T) {
	sockets := sessiontest.NewSockets(t)
	h := newHub()
	a, ca := sockets.New(t, "/", "a")
	b, cb := sockets.New(t, "/", "b")
	c, cc := sockets.New(t, "/", "c")
	enter(t, h, a, 0)
	enter(t, h, c, 0)
	ca.Due = true
	first := true
	ca.OnWrite = func() {
		if !first {
			return
		}
		first = false // 1 and 2 have gone out, 3 to 6 are pending
		apply(h, event(8))
		apply(h, event(7), sequence.Event{RoomID: "r", Name: "typing", Args: []byte("[]")})
		enter(t, h, b, 4)
		h.Leave(c, "r")
		if begins(h, a) {
			h.AbortJoin(a, "r") // what is pending is not lost to a member whose second join is refused
		}
	}
	var flushes transport.FlushSet
	h.ApplyAll("r", []sequence.Event{long(1), long(2), long(3), long(4), long(5), long(6)}, 0, &flushes)
	flushes.Flush()
	ca.OnWrite, ca.Due = nil, false
	apply(h, event(9))
	for _, client := range []struct {
		name string
		conn *sessiontest.Conn
		want string
	}{{"a", ca, "[1 2 3 4 5 6 7 8 9]"}, {"b", cb, "[5 6 7 8 9]"}, {"c", cc, "[1 2]"}} {
		client.conn.Flush()
		if got := fmt.Sprint(seqs(t, client.conn.Packets())); got != client.want {
			t.Errorf("%s got %s, want %s", client.name, got, client.want)
		}
	}
	typing := 0
	for _, p := range cb.Packets() {
		if strings.HasPrefix(p, `42["typing"`) {
			typing++
		}
	}
	if typing != 1 {
		t.Errorf("b got the ephemeral event %d times, want once", typing)
	}
}

// TestPendingIsBounded: who brings events while another call carries them out waits for it.
func TestPendingIsBounded(t *testing.T) {
	h := newHub()
	a, ca := sessiontest.NewSockets(t).New(t, "/", "a")
	enter(t, h, a, 0)
	ca.Due = true
	writing, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	ca.OnWrite = func() {
		once.Do(func() {
			close(writing)
			<-goOn
		})
	}
	var callers sync.WaitGroup
	callers.Go(func() { // stands between its two runs
		var flushes transport.FlushSet
		h.ApplyAll("r", []sequence.Event{long(1), long(2), long(3)}, 0, &flushes)
		flushes.Flush()
	})
	<-writing
	const n = 3 * maxPending
	callers.Go(func() {
		var flushes transport.FlushSet
		for seq := uint64(4); seq <= n; seq++ {
			h.ApplyAll("r", []sequence.Event{event(seq)}, 0, &flushes)
		}
		flushes.Flush()
	})
	pending := func() int {
		sh := h.shard("r")
		sh.mu.Lock()
		defer sh.mu.Unlock()
		r := sh.rooms["r"]
		return len(r.pending) - r.out
	}
	sessiontest.Eventually(t, func() bool { return pending() == maxPending }, func() string { return fmt.Sprintf("%d events are pending", pending()) })
	time.Sleep(5 * time.Millisecond)
	if got := pending(); got != maxPending {
		t.Errorf("%d events are pending, want %d", got, maxPending)
	}
	close(goOn)
	callers.Wait()
	ca.Flush()
	if got := seqs(t, ca.Packets()); len(got) != n || !slices.IsSorted(got) {
		t.Errorf("the client got %d events, sorted %v, want %d in sequence", len(got), slices.IsSorted(got), n)
	}
}

// TestEvictedStaysOutUntilItLeft: a socket that joins again before its eviction was dealt with would be in the room without
// its client's list of rooms knowing.
func TestEvictedStaysOutUntilItLeft(t *testing.T) {
	sockets := sessiontest.NewSockets(t)
	h := newHub()
	a, ca := sockets.New(t, "/", "a")
	enter(t, h, a, 0)
	kick := event(1)
	kick.EvictUser = "a"
	var flushes transport.FlushSet
	fx := h.ApplyAll("r", []sequence.Event{kick, event(2)}, 0, &flushes)
	flushes.Flush()
	if len(fx.Evicted) != 1 || fx.Evicted[0] != a {
		t.Fatalf("Evicted = %v, want the socket", fx.Evicted)
	}
	if begins(h, a) || len(h.Members("r")) != 0 {
		t.Error("an evicted socket may join before it has left, or is a member, want neither")
	}
	// The client's own room:leave, whose reply comes at the same time, does not end the eviction.
	h.Leave(a, "r")
	left, ok := h.BeginJoin(a, "r", 0)
	if ok || left == nil {
		t.Fatal("an evicted socket may join before its eviction was dealt with, or cannot wait for that")
	}
	select {
	case <-left:
		t.Error("the socket has left before its eviction was dealt with")
	default:
	}
	h.LeaveEvicted(a, "r")
	<-left
	if !begins(h, a) {
		t.Error("BeginJoin = false after the evicted socket has left, want true")
	}
	if !h.CompleteJoin(a, "r", 2, []*transport.Message{transport.TextMessage("history to 2")}, &flushes) {
		t.Error("CompleteJoin = false, want true")
	}
	h.LeaveEvicted(a, "r") // late, a second time
	if got := h.Members("r"); len(got) != 1 {
		t.Errorf("%d members, want the socket that joined again", len(got))
	}
	flushes.Flush()
	got(t, ca, "history to 0", packet(1), "history to 2")
}

// TestManyNamespaces: an event is encoded once for each namespace, however many there are.
func TestManyNamespaces(t *testing.T) {
	h := New(1, sessiontest.Stats(), slog.New(slog.DiscardHandler))
	var enc encodings
	events := []sequence.Event{event(1), {RoomID: "r", Seq: 2}}
	for range 2 {
		for i := range 8 {
			m := enc.of(h, fmt.Sprint("/n", i), events)
			if want := fmt.Sprintf(`42/n%d,["e",1]`, i); string(m[0].Text()) != want || m[1] != nil {
				t.Errorf("message = %s, want %s, and none of an event without a name", m[0].Text(), want)
			}
			if again := enc.of(h, fmt.Sprint("/n", i), events); again[0] != m[0] {
				t.Errorf("an event was encoded again for namespace %d", i)
			}
		}
	}
	if len(enc) != 8 {
		t.Errorf("%d encodings, want 8", len(enc))
	}
}

// BenchmarkFanOut queues one event to the members of a room, and flushes.
func BenchmarkFanOut(b *testing.B) {
	for _, members := range []int{1, 1000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			h := New(1, sessiontest.Stats(), slog.New(slog.DiscardHandler))
			sockets := sessiontest.NewSockets(b)
			conns := make([]*sessiontest.Conn, members)
			for i := range members {
				s, c := sockets.New(b, "/", fmt.Sprint("u", i))
				conns[i] = c
				s.Offsets = session.NewOffsets("pid")
				var flushes transport.FlushSet
				h.BeginJoin(s, "r", 1)
				h.CompleteJoin(s, "r", 0, nil, &flushes)
			}
			e := event(0)
			e.Args = []byte(`[{"id":"0123456789","text":"hello, world"}]`)
			var flushes transport.FlushSet
			b.ReportAllocs()
			seq := uint64(0)
			for b.Loop() {
				seq++
				e.Seq = seq
				h.ApplyAll("r", []sequence.Event{e}, 0, &flushes)
				flushes.Flush()
				if seq%100 == 0 {
					for _, c := range conns {
						c.Forget()
					}
				}
			}
		})
	}
}
