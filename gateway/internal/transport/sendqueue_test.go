package transport

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

// silentPeers are conns of each transport whose peer takes nothing.
func silentPeers(t *testing.T, limits Limits) map[string]*session {
	t.Helper()
	s := NewServer(limits, slog.New(slog.DiscardHandler))
	polling := &session{conn: s.NewPolling(), ended: make(chan struct{})}
	polling.conn.(*Polling).Bind(polling)
	webSocket := &session{ended: make(chan struct{})}
	near, far := net.Pipe()
	s.Serve(near, nil, func(c Conn) Receiver {
		webSocket.conn = c
		return webSocket
	})
	t.Cleanup(func() {
		_ = far.Close()
		for _, peer := range []*session{polling, webSocket} {
			peer.conn.Close(CodeNormal, ReasonLost)
			peer.reason(t)
		}
		s.Wait()
	})
	return map[string]*session{"polling": polling, "WebSocket": webSocket}
}

// TestSendQueue: what is taken, dropped or closes the conn does not depend on the transport.
func TestSendQueue(t *testing.T) {
	limits := Limits{MaxMessage: 1000, SendQueue: 10_000, FrameTimeout: time.Minute, CloseTimeout: time.Second}
	type step struct {
		size     int
		volatile bool
		want     bool
	}
	message := func(size int, want bool) step { return step{size, false, want} }
	volatile := func(size int, want bool) step { return step{size, true, want} }
	for name, tc := range map[string]struct {
		steps []step
		slow  bool
	}{
		"volatile that fits":                    {[]step{message(4000, true), volatile(4000, true), message(100, true)}, false},
		"volatile that does not fit":            {[]step{message(4000, true), volatile(8000, false), message(100, true)}, false},
		"volatile behind half a queue":          {[]step{message(6000, true), volatile(10, false), message(100, true)}, false},
		"volatile over the bound, empty queue":  {[]step{volatile(20_000, true), message(100, true)}, false},
		"volatile over the bound, behind other": {[]step{message(100, true), volatile(20_000, false), message(100, true)}, false},
		"message that does not fit":             {[]step{message(6000, true), message(6000, false), message(10, false)}, true},
		"message over the bound":                {[]step{message(100, true), message(20_000, true), message(9000, true), volatile(10, false)}, false},
		"second message over the bound":         {[]step{message(20_000, true), message(20_000, false)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			for transport, peer := range silentPeers(t, limits) {
				for i, s := range tc.steps {
					m := TextMessage(strings.Repeat("m", s.size))
					m.volatile = s.volatile
					if got := peer.conn.Queue(m); got != s.want {
						t.Fatalf("%s: step %d: Queue(%d bytes, volatile %v) = %v, want %v", transport, i, s.size, s.volatile, got, s.want)
					}
					peer.conn.Flush()
				}
				if tc.slow {
					if got := peer.reason(t); got != ReasonSlow {
						t.Errorf("%s: closed as %q, want %q", transport, got, ReasonSlow)
					}
				} else if !peer.conn.Queue(TextMessage("m")) {
					t.Errorf("%s: the conn was closed, want it open", transport)
				}
			}
		})
	}
}

// TestAnswersAreTakenBesideTheBound: what the client asked for leaves what others send its whole bound.
func TestAnswersAreTakenBesideTheBound(t *testing.T) {
	limits := Limits{MaxMessage: 1000, SendQueue: 10_000, FrameTimeout: time.Minute, CloseTimeout: time.Second}
	for transport, peer := range silentPeers(t, limits) {
		for i, size := range []int{-9000, 4000, -20_000, 5000, -3000} { // below 0: answers
			b := NewBuilder(0)
			b.Answer = size < 0
			m := b.Message(append(b.Buffer(), strings.Repeat("m", max(size, -size))...), nil)
			if !peer.conn.Queue(m) {
				t.Fatalf("%s: step %d: Queue(%d bytes) = false, want true", transport, i, size)
			}
			peer.conn.Flush()
		}
		if peer.conn.Queue(TextMessage(strings.Repeat("m", 2000))) {
			t.Errorf("%s: Queue = true over the bound, want false", transport)
		}
		peer.conn.Flush()
		if got := peer.reason(t); got != ReasonSlow {
			t.Errorf("%s: closed as %q, want %q", transport, got, ReasonSlow)
		}
	}
}

// TestLargeIsCountedExactly: what goes out before a large message makes room for as much, and no more.
func TestLargeIsCountedExactly(t *testing.T) {
	q := sendQueue{bound: 100, stuck: true}
	for _, size := range []int{60, 1000, 40} {
		if got := q.admit(size, false, false); got != taken {
			t.Fatalf("admit(%d) = %v, want it taken", size, got)
		}
		q.appended(size)
	}
	for _, step := range []struct{ wrote, backlog int }{{0, 100}, {20, 80}, {40, 40}, {999, 40}, {1, 40}, {39, 1}} {
		q.wrote(step.wrote)
		if q.backlog() != step.backlog {
			t.Errorf("backlog() = %d after %d more bytes, want %d", q.backlog(), step.wrote, step.backlog)
		}
	}
	if q.waiting != 1 || q.large != 0 {
		t.Errorf("%d bytes wait, %d of them of a large message, want 1 and 0", q.waiting, q.large)
	}
}

// TestFrameQueueKeepsTheOrder writes from the queue in pieces while more is appended. What a write left, and what comes while the
// queue is stuck, is in the count of all queues.
func TestFrameQueueKeepsTheOrder(t *testing.T) {
	shared := sendBuffers{bound: 1 << 20}
	var q frameQueue
	var in, out strings.Builder
	for i := range 1000 {
		p := strings.Repeat(string(rune('a'+i%26)), i%300+1)
		in.WriteString(p)
		q.begin(&shared)
		q.stuck = i%3 == 0
		q.append([]byte(p))
		n := min(len(q.next()), i%400)
		if n > 0 {
			out.Write(q.next()[:n])
			q.wrote(n)
		}
		if n > 0 && !q.empty() {
			q.compact()
		}
		counted := int(shared.waiting.Load()) == q.size()
		if q.empty() != (q.size() == 0) || (n > 0 || !q.empty() && q.stuck) && !counted || in.Len()-out.Len() != q.size() {
			t.Fatalf("%d bytes wait, %d of all queues, want %d", q.size(), shared.waiting.Load(), in.Len()-out.Len())
		}
	}
	if !q.empty() {
		out.Write(q.next())
	}
	if in.String() != out.String() {
		t.Error("what came out is not what went in")
	}
	q.drop()
	if got := shared.waiting.Load(); got != 0 {
		t.Errorf("%d bytes wait in all queues after the end, want 0", got)
	}
	q.drop()
	if !q.empty() || q.size() != 0 || shared.waiting.Load() != 0 {
		t.Errorf("%d bytes wait after drop, want none", q.size())
	}
}

// TestQueueNeitherWritesNorCloses: its caller may hold a lock. The conn says when a flush is due instead.
func TestQueueNeitherWritesNorCloses(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, nil)
		const n = 2 * 64 // twice the bound
		message := TextMessage(strings.Repeat("x", 1000))
		for i := range n {
			if !k.conn.Queue(message) {
				t.Fatalf("Queue(%d) = false in a burst that the kernel was not offered, want true", i)
			}
			if due := i*len(message.frames) >= flushLong; due && !k.conn.FlushDue() {
				t.Fatalf("no flush is due with %d bytes queued", k.conn.QueuedBytes())
			}
		}
		if got := k.conn.QueuedBytes(); got != n*len(message.frames) {
			t.Errorf("QueuedBytes() = %d before the flush, want %d", got, n*len(message.frames))
		}
	})
	polling := silentPeers(t, Limits{MaxMessage: 1000, SendQueue: 100})["polling"]
	long := TextMessage(strings.Repeat("x", 60))
	if !polling.conn.Queue(long) || polling.conn.Queue(long) || !polling.conn.FlushDue() {
		t.Error("want the second message refused, and a flush due")
	}
	if polling.conn.Queue(TextMessage("m")) {
		t.Error("Queue = true after a message was refused, want false: the client would miss it")
	}
	select {
	case <-polling.ended:
		t.Error("Queue closed the conn")
	case <-time.After(5 * time.Millisecond):
	}
	polling.conn.Flush()
	if got := polling.reason(t); got != ReasonSlow {
		t.Errorf("closed as %q, want %q", got, ReasonSlow)
	}
}
