package hub

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/gateway/internal/sequence"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// performed is a hub whose effects are performed at once, and noted.
type performed struct {
	*Hub
	mu      sync.Mutex
	evicted []string
	gaps    int
}

func newHub() *performed {
	return &performed{Hub: New(2, sessiontest.Stats(), slog.New(slog.DiscardHandler))}
}

func (p *performed) perform(fx Effects, roomID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range fx.Evicted {
		p.evicted = append(p.evicted, s.UserID+"/"+roomID)
		p.LeaveEvicted(s, roomID)
	}
	if fx.GapFound {
		p.gaps++
	}
}

func (p *performed) CompleteJoin(s *session.Socket, roomID string, head uint64, prelude []*transport.Message, flushes *transport.FlushSet) bool {
	ok, fx := p.Hub.CompleteJoin(s, roomID, head, prelude, flushes)
	p.perform(fx, roomID)
	return ok
}

func (p *performed) AbortJoin(s *session.Socket, roomID string) {
	var flushes transport.FlushSet
	fx := p.Hub.AbortJoin(s, roomID, &flushes)
	if fx.Lost {
		s.Close(transport.CodeTryAgainLater, transport.ReasonOverload)
	}
	p.perform(fx, roomID)
	flushes.Flush()
}

// event is a room event whose only argument is its sequence.
func event(seq uint64) sequence.Event {
	return sequence.Event{RoomID: "r", Seq: seq, Name: "e", Args: fmt.Appendf(nil, "[%d]", seq)}
}

func packet(seq uint64) string { return fmt.Sprintf(`42["e",%d]`, seq) }

// history is a prelude that tells where it ends.
func history(head uint64) []*transport.Message {
	return []*transport.Message{transport.TextMessage(fmt.Sprintf("history to %d", head))}
}

func apply(h *performed, events ...sequence.Event) {
	var flushes transport.FlushSet
	for _, e := range events {
		h.perform(h.ApplyAll(e.RoomID, []sequence.Event{e}, 0, &flushes), e.RoomID)
	}
	flushes.Flush()
}

// begins tells whether a socket could begin its join of the room.
func begins(h interface {
	BeginJoin(s *session.Socket, roomID string, index uint32) (<-chan struct{}, bool)
}, s *session.Socket,
) bool {
	_, ok := h.BeginJoin(s, "r", 0)
	return ok
}

// enter joins a socket at a head, which must succeed.
func enter(t *testing.T, h *performed, s *session.Socket, head uint64) {
	t.Helper()
	var flushes transport.FlushSet
	if !begins(h, s) || !h.CompleteJoin(s, "r", head, history(head), &flushes) {
		t.Fatal("the socket cannot join")
	}
	flushes.Flush()
}

func got(t *testing.T, c *sessiontest.Conn, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, c.Packets()); diff != "" {
		t.Errorf("client got: -want +got\n%s", diff)
	}
}

func TestFanOut(t *testing.T) {
	h := newHub()
	sockets := sessiontest.NewSockets(t)
	a, ca := sockets.New(t, "/", "a")
	b, cb := sockets.New(t, "/chat", "b")
	_, cc := sockets.New(t, "/", "c")
	enter(t, h, a, 0)
	enter(t, h, b, 0)
	with := sequence.Event{RoomID: "r", Seq: 2, Name: "bin", Args: []byte(`[{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{'x'}}}
	except := event(3)
	except.ExceptSocket = a.ID
	others := sequence.Event{RoomID: "r", Name: "others", Args: []byte(`[]`), ExceptUser: a.UserID}
	silent := sequence.Event{RoomID: "r", Seq: 4}
	other := event(1)
	other.RoomID = "other"
	apply(h, event(1), with, except, silent, sequence.Event{RoomID: "r", Name: "typing", Args: []byte(`["u"]`)}, others, event(5), other)
	got(t, ca, "history to 0", `42["e",1]`, `451-["bin",{"_placeholder":true,"num":0}]`, "bx", `42["typing","u"]`, `42["e",5]`)
	got(t, cb, "history to 0", `42/chat,["e",1]`, `451-/chat,["bin",{"_placeholder":true,"num":0}]`, "bx", `42/chat,["e",3]`, `42/chat,["typing","u"]`, `42/chat,["others"]`, `42/chat,["e",5]`)
	got(t, cc)
	h.Leave(a, "r")
	ca.Forget()
	apply(h, event(6))
	got(t, ca)
}

// TestInterned: whoever keeps a room's id for a socket has the text that the hub has.
func TestInterned(t *testing.T) {
	h := newHub()
	a, _ := sessiontest.NewSockets(t).New(t, "/", "a")
	first, again := strings.Clone("room"), strings.Clone("room")
	if got := h.Interned(first); unsafe.StringData(got) != unsafe.StringData(first) {
		t.Error("Interned = another text than the one that was asked about, without a room")
	}
	h.BeginJoin(a, first, 1)
	if got := h.Interned(again); got != "room" || unsafe.StringData(got) != unsafe.StringData(first) {
		t.Errorf("Interned = %q, want the text with which the room was made", got)
	}
}

// TestMembersTakeLittle: a member is as small as it was made, and a room of ten has no room for many more.
func TestMembersTakeLittle(t *testing.T) {
	if size := unsafe.Sizeof(member{}); size > 32 {
		t.Errorf("a member takes %d bytes, want 32 at most", size)
	}
	for _, n := range []int{1, 2, 10, 100, 1000} {
		var r room
		for range n {
			r.add(member{})
		}
		if most := n + max(leastGrowth, n/4); len(r.members) != n || cap(r.members) > most {
			t.Errorf("%d members have room for %d, want %d at most", n, cap(r.members), most)
		}
	}
}

func TestHeadsGapsAndForget(t *testing.T) {
	h := newHub()
	sockets := sessiontest.NewSockets(t)
	a, ca := sockets.New(t, "/", "a")
	if len(h.Heads()) != 0 {
		t.Errorf("Heads() = %v of an empty hub, want none", h.Heads())
	}
	h.BeginJoin(a, "r", 0)
	if begins(h, a) {
		t.Error("BeginJoin of a joining socket = true, want false")
	}
	h.Forget("r") // a room with members stays
	if len(h.Heads()) != 0 {
		t.Errorf("Heads() = %v before the start, want none", h.Heads())
	}
	var flushes transport.FlushSet
	h.CompleteJoin(a, "r", 7, nil, &flushes)
	apply(h, event(9), event(11), event(8))
	got(t, ca, packet(8), packet(9))
	if diff := cmp.Diff([]Head{{"r", 9}}, h.Heads()); diff != "" {
		t.Errorf("Heads(): -want +got\n%s", diff)
	}
	if after, upTo, ok := h.Gap("r"); !ok || after != 9 || upTo != 10 {
		t.Errorf("Gap() = %d, %d, %v, want 9, 10", after, upTo, ok)
	}
	if h.gaps != 1 {
		t.Errorf("GapFound was called %d times, want once", h.gaps)
	}
	apply(h, event(10), event(13))
	if last, _ := h.Last("r"); last != 11 || h.gaps != 2 {
		t.Errorf("Last() = %d with %d gaps told, want 11 with 2", last, h.gaps)
	}
	h.Leave(a, "r")
	h.Forget("r")
	h.Forget("r")
	if _, started := h.Last("r"); started || len(h.Heads()) != 0 {
		t.Error("a room without members is not forgotten, want it gone")
	}
}

func TestEviction(t *testing.T) {
	kick := func(seq uint64, user string) sequence.Event {
		e := event(seq)
		e.EvictUser = user
		return e
	}
	h := newHub()
	sockets := sessiontest.NewSockets(t)
	a1, ca1 := sockets.New(t, "/", "a")
	a2, ca2 := sockets.New(t, "/", "a")
	b, cb := sockets.New(t, "/", "b")
	for _, s := range []*session.Socket{a1, a2, b} {
		enter(t, h, s, 0)
	}
	apply(h, event(1), kick(2, "a"), event(3))
	for _, c := range []*sessiontest.Conn{ca1, ca2} {
		got(t, c, "history to 0", packet(1), packet(2))
	}
	got(t, cb, "history to 0", packet(1), packet(2), packet(3))
	if diff := cmp.Diff([]string{"a/r", "a/r"}, h.evicted); diff != "" {
		t.Errorf("Evicted: -want +got\n%s", diff)
	}

	t.Run("while joining", func(t *testing.T) { // the history was read before the eviction
		ca1.Forget()
		h.evicted = nil
		h.BeginJoin(a1, "r", 0)
		apply(h, event(4), kick(5, "a"), event(6))
		var flushes transport.FlushSet
		if !h.CompleteJoin(a1, "r", 3, history(3), &flushes) {
			t.Fatal("CompleteJoin = false, want true")
		}
		flushes.Flush()
		apply(h, event(7))
		got(t, ca1, "history to 3", packet(4), packet(5))
		if len(h.evicted) != 1 {
			t.Errorf("Evicted was called for %v, want once", h.evicted)
		}
	})
	t.Run("in the history", func(t *testing.T) { // evicted, let in again, and the history covers both
		ca1.Forget()
		h.evicted = nil
		h.BeginJoin(a1, "r", 0)
		apply(h, kick(8, "a"))
		var flushes transport.FlushSet
		h.CompleteJoin(a1, "r", 9, history(9), &flushes)
		flushes.Flush()
		apply(h, event(9), event(10))
		got(t, ca1, "history to 9", packet(10))
		if len(h.evicted) != 0 {
			t.Errorf("Evicted was called for %v, want nobody", h.evicted)
		}
	})
	t.Run("when joining again is refused", func(t *testing.T) { // a member joins again, is evicted meanwhile, and so refused
		ca1.Forget()
		h.evicted = nil
		h.BeginJoin(a1, "r", 0)
		apply(h, event(11), kick(12, "a"), event(13))
		h.AbortJoin(a1, "r")
		apply(h, event(14))
		got(t, ca1, packet(11), packet(12))
		if len(h.evicted) != 1 {
			t.Errorf("Evicted was called for %v, want once", h.evicted)
		}
	})
	got(t, cb, "history to 0", packet(1), packet(2), packet(3), packet(4), packet(5), packet(6), packet(7), packet(8), packet(9), packet(10),
		packet(11), packet(12), packet(13), packet(14))
}

// TestBar: an eviction tells a socket that joins what it cannot know by what was read of the room before, also where the event that says so does
// not come for now.
func TestBar(t *testing.T) {
	h := newHub()
	sockets := sessiontest.NewSockets(t)
	a, ca := sockets.New(t, "/", "a")
	b, cb := sockets.New(t, "/", "b")
	unstored := sequence.Event{RoomID: "r", Name: "unstored", Args: []byte("[1]")}
	enter(t, h, b, 5)
	h.Bar("none", []string{"a"}, 6)

	complete := func(head uint64) bool {
		var flushes transport.FlushSet
		defer flushes.Flush()
		return h.CompleteJoin(a, "r", head, history(head), &flushes)
	}
	h.BeginJoin(a, "r", 0)
	h.Bar("r", []string{"a", "b"}, 6)
	apply(h, unstored)
	if complete(5) {
		t.Error("CompleteJoin with a history of before the eviction = true, want false")
	}
	h.AbortJoin(a, "r")
	got(t, ca)

	h.BeginJoin(a, "r", 0)
	h.Bar("r", []string{"a"}, 6)
	if !complete(7) { // it was let in again at 7
		t.Error("CompleteJoin with a history of after the eviction = false, want true")
	}
	got(t, ca, "history to 7")

	// It is inside, joins again, and is put out meanwhile: the refused join leaves nothing behind.
	ca.Forget()
	h.BeginJoin(a, "r", 0)
	h.Bar("r", []string{"a"}, 7) // by an eviction of before, which is late
	h.Bar("r", []string{"a"}, 8)
	h.AbortJoin(a, "r")
	apply(h, unstored)
	got(t, ca)
	if diff := cmp.Diff([]string{"a/r"}, h.evicted); diff != "" {
		t.Errorf("Evicted: -want +got\n%s", diff)
	}
	enter(t, h, a, 9)
	ca.Forget()
	h.BeginJoin(a, "r", 0)
	h.Bar("r", []string{"a"}, 8)
	h.AbortJoin(a, "r")
	apply(h, unstored)
	got(t, ca, `42["unstored",1]`)
	got(t, cb, "history to 5", `42["unstored",1]`, `42["unstored",1]`, `42["unstored",1]`)
}

func TestAbort(t *testing.T) {
	h := newHub()
	sockets := sessiontest.NewSockets(t)
	in, cin := sockets.New(t, "/", "in")
	out, cout := sockets.New(t, "/", "out")
	enter(t, h, in, 0)
	apply(h, event(1))
	h.BeginJoin(in, "r", 0)
	h.BeginJoin(out, "r", 0)
	apply(h, event(2), event(4), event(3))
	h.AbortJoin(in, "r")
	h.AbortJoin(out, "r")
	h.AbortJoin(out, "r")
	apply(h, event(5))
	got(t, cin, "history to 0", packet(1), packet(2), packet(3), packet(4), packet(5))
	got(t, cout)
	h.BeginJoin(out, "r", 0) // a socket that has gone meanwhile
	h.Leave(out, "r")
	var flushes transport.FlushSet
	if !h.CompleteJoin(out, "r", 5, history(5), &flushes) {
		t.Error("CompleteJoin of a socket that is gone = false, want true")
	}
	apply(h, event(6))
	got(t, cout)
}

func TestBufferOverflow(t *testing.T) {
	h := newHub()
	sockets := sessiontest.NewSockets(t)
	a, _ := sockets.New(t, "/", "a")
	b, cb := sockets.New(t, "/", "b")
	enter(t, h, a, 0)
	h.BeginJoin(b, "r", 0)
	n := uint64(maxBuffered + 10)
	for seq := uint64(1); seq <= n; seq++ {
		apply(h, event(seq))
	}
	var flushes transport.FlushSet
	if h.CompleteJoin(b, "r", 0, history(0), &flushes) {
		t.Fatal("CompleteJoin = true although events were not buffered, want false")
	}
	apply(h, event(n+1))
	if !h.CompleteJoin(b, "r", n, history(n), &flushes) {
		t.Fatal("CompleteJoin = false with all events at hand, want true")
	}
	flushes.Flush()
	got(t, cb, fmt.Sprintf("history to %d", n), packet(n+1))
}

// world is a room in the database and on the bus, for the property test: events are committed in sequence, arrive in any
// order, twice or never, and are repaired.
type world struct {
	h       *performed
	head    uint64
	onTheir []uint64 // on their way
}

// joiner is a socket with its place in the join.
type joiner struct {
	socket *session.Socket
	conn   *sessiontest.Conn
	state  string // out, begun, read, in, again, again-read
	head   uint64

	aborted bool
}

func (w *world) repair() {
	after, upTo, gap := w.h.Gap("r")
	if !gap {
		last, started := w.h.Last("r")
		if !started || last >= w.head {
			return
		}
		after, upTo = last, w.head
	}
	for seq := after + 1; seq <= upTo; seq++ {
		apply(w.h, event(seq))
	}
}

// step makes one random step of one of the joiners.
func (w *world) step(j *joiner, r *rand.Rand) {
	switch j.state {
	case "out", "in":
		if begins(w.h, j.socket) {
			j.state = map[string]string{"out": "begun", "in": "again"}[j.state]
		}
	case "begun", "again": // the history is read at any moment after BeginJoin
		j.head = w.head
		j.state = map[string]string{"begun": "read", "again": "again-read"}[j.state]
	case "read", "again-read":
		if r.IntN(5) == 0 { // the service fails
			w.h.AbortJoin(j.socket, "r")
			j.aborted = true
			j.state = map[string]string{"read": "out", "again-read": "in"}[j.state]
			return
		}
		var flushes transport.FlushSet
		if w.h.CompleteJoin(j.socket, "r", j.head, history(j.head), &flushes) {
			j.state = "in"
		} else {
			j.state = map[string]string{"read": "begun", "again-read": "again"}[j.state] // read again
		}
		flushes.Flush()
	}
}

// verify checks what a client saw: a history, then every event after it, once and in sequence, up to the head; another
// history may come only where the events before it join without a hole. head 0 does not ask for the end.
func verify(t *testing.T, what string, packets []string, head uint64) {
	t.Helper()
	at, began := uint64(0), false
	for i, p := range packets {
		var n uint64
		if _, err := fmt.Sscanf(p, "history to %d", &n); err == nil {
			if began && n < at {
				t.Fatalf("%s: packet %d is %q after event %d: %q", what, i, p, at, packets)
			}
			at, began = n, true
			continue
		}
		if _, err := fmt.Sscanf(p, `42["e",%d]`, &n); err != nil || !began || n != at+1 {
			t.Fatalf("%s: packet %d is %q after event %d (began %v): %q", what, i, p, at, began, packets)
		}
		at = n
	}
	if began && at != head && head > 0 {
		t.Fatalf("%s: the last event is %d, want %d: %q", what, at, head, packets)
	}
}

func TestJoinSeesEveryEventOnce(t *testing.T) {
	sockets := sessiontest.NewSockets(t)
	lost := 0
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 2))
		h := newHub()
		w := &world{h: h, head: r.Uint64N(5)}
		joiners := make([]*joiner, 1+r.IntN(3))
		for i := range joiners {
			s, c := sockets.New(t, "/", fmt.Sprint("u", i))
			joiners[i] = &joiner{socket: s, conn: c, state: "out"}
		}
		for range 20 + r.IntN(60) {
			switch r.IntN(8) {
			case 0, 1:
				w.head++
				for range max(1, r.IntN(4)) - r.IntN(2) { // lost, once, twice
					w.onTheir = append(w.onTheir, w.head)
				}
			case 2, 3:
				if n := len(w.onTheir); n > 0 {
					i := r.IntN(n)
					seq := w.onTheir[i]
					w.onTheir = append(w.onTheir[:i], w.onTheir[i+1:]...)
					apply(h, event(seq))
				}
			case 4:
				w.repair()
			default:
				w.step(joiners[r.IntN(len(joiners))], r)
			}
		}
		for _, seq := range w.onTheir {
			apply(h, event(seq))
		}
		for range 50 { // the end: all repaired, all joined
			w.repair()
			for _, j := range joiners {
				if j.state != "in" {
					w.step(j, r)
				}
			}
		}
		w.head++
		apply(h, event(w.head))
		for i, j := range joiners {
			if j.state != "in" {
				t.Fatalf("seed %d: joiner %d is %q in the end, want in", seed, i, j.state)
			}
			upTo := w.head
			if _, reason, closed := j.conn.Ended(); closed { // AbortJoin has lost track of a member, who comes back and recovers
				if reason != transport.ReasonOverload || !j.aborted {
					t.Fatalf("seed %d: joiner %d was closed: %s", seed, i, reason)
				}
				upTo = 0
				lost++
			}
			verify(t, fmt.Sprintf("seed %d joiner %d", seed, i), j.conn.Packets(), upTo)
			h.Leave(j.socket, "r")
			j.socket.Close(transport.CodeNormal, transport.ReasonServer)
		}
	}
	if lost > 0 {
		t.Errorf("%d sockets were closed in 1500 runs, want none", lost)
	}
}

// TestJoinConcurrently is the same with goroutines, for the race detector.
func TestJoinConcurrently(t *testing.T) {
	sockets := sessiontest.NewSockets(t)
	h := newHub()
	var head atomic.Uint64
	var publishing, joining sync.WaitGroup
	const n = 2000
	bus := make(chan uint64, 64)
	keeper, ck := sockets.New(t, "/", "keeper")
	enter(t, h, keeper, 0)
	publishing.Go(func() {
		defer close(bus)
		for seq := uint64(1); seq <= n; seq++ {
			head.Store(seq) // committed
			bus <- seq
		}
	})
	for range 2 { // two ways in, so that events overtake each other
		publishing.Go(func() {
			for seq := range bus {
				apply(h, event(seq))
			}
		})
	}
	conns := make([]*sessiontest.Conn, 8)
	for i := range conns {
		s, c := sockets.New(t, "/", fmt.Sprint("u", i))
		conns[i] = c
		joining.Go(func() {
			for range 5 { // a join and four times again
				for !begins(h, s) {
					runtime.Gosched()
				}
				for done := false; !done; {
					var flushes transport.FlushSet
					at := head.Load()
					done = h.CompleteJoin(s, "r", at, history(at), &flushes)
					flushes.Flush()
				}
			}
		})
	}
	joining.Wait()
	publishing.Wait()
	for last, _ := h.Last("r"); last < n; last, _ = h.Last("r") { // what was too early to be held is fetched again
		after, upTo, gap := h.Gap("r")
		if !gap {
			after, upTo = last, n
		}
		for seq := after + 1; seq <= upTo; seq++ {
			apply(h, event(seq))
		}
	}
	for i, c := range append(conns, ck) {
		packets := c.Packets()
		if len(packets) == 0 || !strings.HasPrefix(packets[0], "history") {
			t.Fatalf("conn %d got %.3q, want a history first", i, packets)
		}
		verify(t, fmt.Sprint("conn ", i), packets, n)
	}
}

func TestRegistry(t *testing.T) {
	r := NewRegistry()
	sockets := sessiontest.NewSockets(t)
	a1, _ := sockets.New(t, "/", "a")
	a2, _ := sockets.New(t, "/", "a")
	b, _ := sockets.New(t, "/", "b")
	for _, s := range []*session.Socket{a1, a2, b} {
		r.Add(s)
	}
	before := r.User("a")
	r.Remove(a1)
	r.Remove(a1)
	if len(before) != 2 || before[0] != a1 || before[1] != a2 {
		t.Errorf("User(a) = %v changed after it was given out, want both", before)
	}
	if left := r.User("a"); len(left) != 1 || left[0] != a2 {
		t.Errorf("User(a) = %v after one went, want the other", left)
	}
	seen := map[*session.Socket]int{}
	r.Each(func(s *session.Socket) { seen[s]++; r.Remove(s) }) // may call the registry
	if len(seen) != 2 || seen[a2] != 1 || seen[b] != 1 {
		t.Errorf("Each saw %v, want the two once", seen)
	}
	if r.User("a") != nil || r.User("b") != nil {
		t.Error("User gives sockets after all went, want none")
	}
}
