package relay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestLongAnswersAtOnce: a client on long polling that asks for several long answers at once gets all of them, one after the
// other.
func TestLongAnswersAtOnce(t *testing.T) {
	f := newFleet(t, nil)
	g := f.start("g1")
	(&world{service: f.service}).respond(t, "long", func(*eventv1.ClientEvent) *eventv1.ClientReply {
		return &eventv1.ClientReply{
			Emits:   []*eventv1.Emit{{Event: "history", Args: []byte(`["` + strings.Repeat("h", 150_000) + `",0]`)}},
			AckArgs: []byte(`["` + strings.Repeat("a", 360_000) + `"]`),
		}
	})
	p := sessiontest.OpenPolling(t, g.sessions, g.sockets)
	p.Post(`40{"token":"u"}`)
	if got := p.Get(); !strings.HasPrefix(got, "40{") {
		t.Fatalf("GET = %s, want the CONNECT reply", got)
	}
	var ask []string
	for i := range 4 {
		ask = append(ask, fmt.Sprintf(`42%d["long"]`, i))
	}
	p.Post(strings.Join(ask, "\x1e"))
	// The client is slow to ask for them: all answers together would pass the bound.
	sessiontest.Eventually(t, func() bool {
		g.relay.unread.mu.Lock()
		defer g.relay.unread.mu.Unlock()
		return len(g.relay.unread.held) == 1
	}, func() string { return "the second event is not held while the first one's answer waits" })
	for acks := 0; acks < len(ask); {
		for packet := range strings.SplitSeq(p.Get(), "\x1e") {
			if strings.HasPrefix(packet, fmt.Sprintf("43%d[", acks)) {
				acks++
			}
		}
	}
}

// TestUnreadAnswers: while much waits for the client its next event is not begun, and that time does not count against it.
func TestUnreadAnswers(t *testing.T) {
	w := newWorld(t, func(c *settings) { c.Recovery.PongWithin = time.Minute })
	do := w.take(t, &eventv1.Catalog{}, "do", echoAll)
	reads, reading := w.connect(t, "reads"), w.connect(t, "other")
	reads.Waiting.Store(unreadMost + 1)
	reads.SayTogether(`421["do",1]`, `422["do",2]`)
	reading.Say(`421["do",3]`)
	reading.WaitFor(t, "431[3]") // nobody else waits
	if got := do.got(); len(got) != 1 {
		t.Errorf("requests %q while much waits for the client, want the other's alone", got)
	}
	reads.Waiting.Store(unreadMost)
	reads.WaitFor(t, "431[1]")
	reads.WaitFor(t, "432[2]")

	reads.Waiting.Store(2 * unreadMost)
	reads.Say(`423["do",3]`)
	later := time.Now().Add(time.Hour)
	w.relay.release(later)
	if code, reason := reads.WaitEnded(t); code != transport.CodePolicy || reason != transport.ReasonSlow {
		t.Errorf("closed with %d, %s when nothing was taken for long, want 1008, slow", code, reason)
	}
}

// TestTimeHeldDoesNotCount: the clock of all events of a client starts again when they were held for the client itself.
func TestTimeHeldDoesNotCount(t *testing.T) {
	socket, conn := sessiontest.NewSockets(t).New(t, "/", "u")
	start := time.Now()
	first, second := &pending{receivedAt: start}, &pending{receivedAt: start}
	c := &client{socket: socket}
	c.events = &eventQueue{inFlight: []*pending{first}, waiting: []*pending{second}}
	u := newUnread(time.Minute)
	q := &request{c, c.events.inFlight}
	if u.hold(q) {
		t.Fatal("hold = true with nothing waiting, want false")
	}
	conn.Waiting.Store(3 * unreadMost)
	if !u.hold(q) {
		t.Fatal("hold = false with much waiting, want true")
	}
	now := start
	for _, waiting := range []int64{3, 2} { // slow, but it moves
		now = now.Add(59 * time.Second)
		conn.Waiting.Store(waiting * unreadMost)
		if got := u.release(now); len(got) != 0 {
			t.Fatalf("release = %d requests with much waiting, want none", len(got))
		}
	}
	now = now.Add(59 * time.Second)
	conn.Waiting.Store(0)
	if got := u.release(now); len(got) != 1 || got[0] != q {
		t.Fatalf("release = %d requests, want the one that was held", len(got))
	}
	if _, reason, ended := conn.Ended(); ended || first.receivedAt != now || second.receivedAt != now {
		t.Errorf("events of %v, %v, closed as %q: want %v, open", first.receivedAt, second.receivedAt, reason, now)
	}

	c.relay = &Relay{}
	c.gone = true // since it was asked whether it is
	c.dropEventsLocked()
	c.restLocked(now.Add(time.Hour))
	c.restartClock(now)
}
