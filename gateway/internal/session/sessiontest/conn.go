package sessiontest

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

// Patience is how long tests wait for what must come. It guards against hanging, and measures nothing.
const Patience = 30 * time.Second

// Conn is a transport.Conn in memory. Test code is the client behind it: Say sends, Packets is what came.
type Conn struct {
	reader   sync.Mutex // held while the session receives, so that Closed comes after the last Receive
	receiver transport.Receiver

	// OnWrite is called by Flush and Close; nil calls nothing. It is for tests of what may be done while something is written.
	OnWrite func()
	// Due is what FlushDue tells.
	Due bool
	// Waiting is what QueuedBytes tells.
	Waiting atomic.Int64
	// Full has Queue drop what is volatile.
	Full atomic.Bool
	// Incomplete is what Arriving tells.
	Incomplete atomic.Bool

	mu      sync.Mutex // guards what follows
	packets []string
	flushed int // of packets
	paused  bool
	closed  bool
	code    transport.Code
	reason  transport.Reason
	ended   chan struct{}
}

var _ transport.Conn = (*Conn)(nil)

// Queue implements transport.Conn. Attachments become packets of their own, "b" and the bytes.
func (c *Conn) Queue(m *transport.Message) bool {
	return (!m.Volatile() || !c.Full.Load()) && c.queue(string(m.Text()), m.Attachments())
}

// QueueRun implements transport.Conn.
func (c *Conn) QueueRun(run []transport.Suffixed) (taken int) {
	for _, s := range run {
		text := string(s.Message.Text())
		if s.Suffix != nil {
			text = text[:len(text)-1] + string(s.Suffix)
		}
		if c.queue(text, s.Message.Attachments()) {
			taken++
		}
	}
	return taken
}

func (c *Conn) queue(text string, attachments [][]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.packets = append(c.packets, text)
	for _, a := range attachments {
		c.packets = append(c.packets, "b"+string(a))
	}
	return true
}

// FlushDue implements transport.Conn.
func (c *Conn) FlushDue() bool { return c.Due }

// Flush implements transport.Conn.
func (c *Conn) Flush() {
	c.written()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushed = len(c.packets)
}

func (c *Conn) written() {
	if c.OnWrite != nil {
		c.OnWrite()
	}
}

// Close implements transport.Conn.
func (c *Conn) Close(code transport.Code, reason transport.Reason) {
	c.written()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed, c.code, c.reason, c.flushed = true, code, reason, len(c.packets)
	go func() {
		c.reader.Lock()
		defer c.reader.Unlock()
		c.receiver.Closed(reason)
		close(c.ended)
	}()
}

// PauseRead implements transport.Conn. Say does not care; tests look at Paused.
func (c *Conn) PauseRead() { c.setPaused(true) }

// ResumeRead implements transport.Conn.
func (c *Conn) ResumeRead() { c.setPaused(false) }

func (c *Conn) setPaused(paused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = paused
}

// Paused tells whether reading is paused.
func (c *Conn) Paused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

// Admitted implements transport.Conn.
func (c *Conn) Admitted() {}

// Arriving tells what Incomplete says: whether a message has begun and its end is still to come.
func (c *Conn) Arriving() bool { return c.Incomplete.Load() }

// QueuedBytes implements transport.Conn.
func (c *Conn) QueuedBytes() int { return int(c.Waiting.Load()) }

// Say has the client send packets, as text.
func (c *Conn) Say(packets ...string) {
	for _, p := range packets {
		c.say([]byte(p), false)
	}
}

// SayTogether has the client send packets that arrive in one read.
func (c *Conn) SayTogether(packets ...string) {
	c.reader.Lock()
	defer c.reader.Unlock()
	for _, p := range packets {
		c.receive([]byte(p), false)
	}
	c.receiver.BatchEnd()
}

// SayBinary has the client send a binary packet.
func (c *Conn) SayBinary(p []byte) { c.say(p, true) }

func (c *Conn) say(p []byte, binary bool) {
	c.reader.Lock()
	defer c.reader.Unlock()
	if c.receive(p, binary) {
		c.receiver.BatchEnd()
	}
}

func (c *Conn) receive(p []byte, binary bool) bool {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return false
	}
	c.receiver.Receive(p, binary)
	for i := range p { // it was only valid during the call
		p[i] = '!'
	}
	return true
}

// Packets gives the packets that were flushed to the client.
func (c *Conn) Packets() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.packets[:c.flushed])
}

// Queued gives all packets, flushed or not.
func (c *Conn) Queued() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.packets)
}

// Forget drops the packets that came so far.
func (c *Conn) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packets, c.flushed = nil, 0
}

// Ended tells how the conn was closed; ok is false while it is open.
func (c *Conn) Ended() (code transport.Code, reason transport.Reason, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.reason, c.closed
}

// WaitEnded waits until the conn is closed and its session knows.
func (c *Conn) WaitEnded(t testing.TB) (transport.Code, transport.Reason) {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(Patience):
		t.Fatalf("the conn is not closed; it got %q", c.Queued())
	}
	code, reason, _ := c.Ended()
	return code, reason
}

// WaitFor waits for a packet that begins with prefix and gives the first one.
func (c *Conn) WaitFor(t testing.TB, prefix string) string {
	t.Helper()
	var found string
	Eventually(t, func() bool {
		for _, p := range c.Packets() {
			if strings.HasPrefix(p, prefix) {
				found = p
				return true
			}
		}
		return false
	}, func() string { return "no packet " + prefix + "… in " + strings.Join(c.Queued(), " ") })
	return found
}

// Eventually waits until done.
func Eventually(t testing.TB, done func() bool, problem func() string) {
	t.Helper()
	for end := time.Now().Add(Patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(problem())
		}
	}
}
