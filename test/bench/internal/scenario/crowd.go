//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/histogram"
	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/bench/internal/swarm"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// member is one user, with one conn and at most one room. The conn's loop owns the member.
type member struct {
	conn   *swarm.Conn
	room   int
	joined bool
	seq    int64           // of the last durable event of the room that it saw
	got    int64           // messages received
	acked  int64           // own messages acknowledged
	next   int64           // number of the next own message
	sent   []time.Duration // when the message in each slot of the window left
}

// counts counts what one loop's members see.
type counts struct {
	// Read by anybody, for the progress lines.
	opened, joined, sent, acked, failed, delivered atomic.Int64
	due                                            atomic.Int64 // deliveries that the acknowledged messages make
	presence                                       atomic.Int64 // events that tell who is online

	// Owned by the loop.
	gaps, repeats int64
	handshakes    histogram.Histogram
	acks          histogram.Histogram // while measuring
	receipts      histogram.Histogram // while measuring
}

// crowd is the users of one scenario. It connects them and has them join rooms; scenarios set what happens then.
type crowd struct {
	// Fixed at birth.
	bench   *Bench
	swarm   *swarm.Swarm
	members []*member // all that the scenario will have
	byLoop  []*counts

	problems problems // guards itself

	// Owned by the goroutine of the scenario, which sets each before the members need it.
	user    int  // the number of its first member's user
	several bool // members are in several rooms: the sequences of their events are not looked at
	dialled int
	rooms   []string
	sizes   []int64 // of the rooms
	onAck   func(m *member, t *counts, p sioclient.Packet)
	onEvent func(m *member, t *counts, p sioclient.Packet)
	onLost  func(m *member, opened bool, err error) // nil: a problem
	onOpen  func(m *member)                         // nil: nothing

	// Set by the scenario, read by every loop.
	measuring atomic.Bool
	stopping  atomic.Bool // no more load, from here on
	ending    atomic.Bool // nothing is a problem any more
}

// newCrowd prepares n users; connect brings them in.
func (b *Bench) newCrowd(n int) (*crowd, error) {
	s, err := b.newSwarm()
	if err != nil {
		return nil, err
	}
	c := &crowd{bench: b, swarm: s}
	for range s.Loops() {
		c.byLoop = append(c.byLoop, &counts{})
	}
	for range n {
		c.members = append(c.members, &member{room: -1})
	}
	return c, nil
}

func (c *crowd) close() {
	c.ending.Store(true)
	c.swarm.Close()
}

// connect brings in the next n users and waits for them.
func (c *crowd) connect(ctx context.Context, n int) (took time.Duration, err error) {
	from := c.dialled
	c.dialled += n
	tokens := make([]string, n)
	for i := range tokens {
		if tokens[i], err = c.bench.token(c.user + from + i); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	for i, token := range tokens {
		m := c.members[from+i]
		m.conn = c.swarm.Dial(from+i, token, c)
	}
	want := int64(from + n)
	err = c.bench.until(ctx, time.Minute+time.Duration(n)*5*time.Millisecond,
		func() string {
			return fmt.Sprintf("%d of %d connected%s", c.sum(openedCount), want, c.problems.suffix())
		},
		func() bool { return c.sum(openedCount) >= want || c.problems.fatal() })
	if err == nil && c.problems.fatal() {
		err = errors.New("connections fail")
	}
	return time.Since(start), err
}

// join spreads the members over rooms and waits until all have joined.
func (c *crowd) join(ctx context.Context, rooms []string) error {
	c.rooms, c.sizes = rooms, make([]int64, len(rooms))
	for i, m := range c.members {
		m.room = i % len(rooms)
		c.sizes[m.room]++
	}
	for _, m := range c.members {
		m.conn.Do(func() { m.enter(rooms[m.room]) })
	}
	want := int64(len(c.members))
	err := c.bench.until(ctx, 2*time.Minute,
		func() string { return fmt.Sprintf("%d of %d joined%s", c.sum(joinedCount), want, c.problems.suffix()) },
		func() bool { return c.sum(joinedCount) >= want || c.problems.fatal() })
	if err == nil && c.problems.fatal() {
		err = errors.New("joins fail")
	}
	return err
}

// enter has a member join a room; the ack has the id 0.
func (m *member) enter(room string) {
	b := sioclient.BeginEvent(m.conn.Scratch(), 0, "room:join")
	m.conn.Send(append(append(append(b, '"'), room...), `"]`...))
}

// roomNames are names that no other scenario of this run uses.
func (b *Bench) roomNames(scenario string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "bench-" + b.Run + "-" + scenario + "-" + strconv.Itoa(i)
	}
	return names
}

var _ swarm.Handler = (*crowd)(nil)

func (c *crowd) at(conn *swarm.Conn) (*member, *counts) {
	return c.members[conn.Index], c.byLoop[conn.Loop()]
}

// Opened implements swarm.Handler.
func (c *crowd) Opened(conn *swarm.Conn, took time.Duration) {
	m, t := c.at(conn)
	t.handshakes.Record(took)
	t.opened.Add(1)
	if c.onOpen != nil {
		c.onOpen(m)
	}
}

// Ack implements swarm.Handler. Ack 0 is that of room:join.
func (c *crowd) Ack(conn *swarm.Conn, p sioclient.Packet) {
	m, t := c.at(conn)
	if p.ID != 0 {
		if c.onAck != nil {
			c.onAck(m, t, p)
		}
		return
	}
	seq, ok := swarm.Int(p.Body, []byte(`"seq":`))
	if !okAck(p.Body) || !ok {
		c.problems.add("room:join was answered " + string(p.Body[:min(len(p.Body), 200)]))
		return
	}
	m.seq, m.joined = seq, true
	t.joined.Add(1)
}

// okAck tells a success from a failure.
func okAck(data []byte) bool {
	const want = `[{"ok":true`
	return len(data) > len(want) && string(data[:len(want)]) == want
}

// Event implements swarm.Handler: it checks the sequence of durable events.
func (c *crowd) Event(conn *swarm.Conn, p sioclient.Packet) {
	m, t := c.at(conn)
	switch string(p.Name()) {
	case "message:new":
		m.got++
		t.delivered.Add(1)
		c.durable(m, t, p.Body)
	case "room:message":
		m.got++
		t.delivered.Add(1)
	case "room:user-joined", "room:user-left":
		c.durable(m, t, p.Body)
		return
	case "users:online", "presence:changed":
		t.presence.Add(1) // nobody here watches anybody
		return
	default:
		return
	}
	if c.onEvent != nil {
		c.onEvent(m, t, p)
	}
}

func (c *crowd) durable(m *member, t *counts, data []byte) {
	seq, ok := swarm.Int(data, []byte(`"seq":`))
	switch {
	case c.several:
	case !m.joined || !ok:
		t.gaps++ // a room's event before the ack of its room:join, or one without its number
	case seq <= m.seq:
		t.repeats++
	default:
		if seq != m.seq+1 {
			t.gaps++
		}
		m.seq = seq
	}
}

// Closed implements swarm.Handler.
func (c *crowd) Closed(conn *swarm.Conn, opened bool, err error) {
	if c.ending.Load() {
		return
	}
	m, t := c.at(conn)
	if opened {
		t.opened.Add(-1)
	}
	if c.onLost != nil {
		c.onLost(m, opened, err)
		return
	}
	c.problems.add("a connection was lost: " + err.Error())
}

// counts that progress lines read.
func openedCount(t *counts) *atomic.Int64    { return &t.opened }
func joinedCount(t *counts) *atomic.Int64    { return &t.joined }
func sentCount(t *counts) *atomic.Int64      { return &t.sent }
func ackedCount(t *counts) *atomic.Int64     { return &t.acked }
func failedCount(t *counts) *atomic.Int64    { return &t.failed }
func dueCount(t *counts) *atomic.Int64       { return &t.due }
func presenceCount(t *counts) *atomic.Int64  { return &t.presence }
func deliveredCount(t *counts) *atomic.Int64 { return &t.delivered }

func (c *crowd) sum(of func(*counts) *atomic.Int64) (n int64) {
	for _, t := range c.byLoop {
		n += of(t).Load()
	}
	return n
}

// merge adds up the histograms of all loops, after what the loops had been told to do before.
func (c *crowd) merge(of func(*counts) *histogram.Histogram) *histogram.Histogram {
	c.swarm.Sync()
	var all histogram.Histogram
	for _, t := range c.byLoop {
		all.Add(of(t))
	}
	return &all
}

// awaitQuiet waits until nothing has arrived for a while and balanced says that nothing is under way.
func (c *crowd) awaitQuiet(ctx context.Context, balanced func() bool) error {
	const quiet = 300 * time.Millisecond
	last, since := int64(-1), time.Now()
	begin := time.Now()
	return c.bench.until(ctx, time.Minute, func() string { return "waiting for what is under way" }, func() bool {
		if n := c.swarm.Totals().Frames; n != last {
			last, since = n, time.Now()
			return false
		}
		still := time.Since(since)
		return still > quiet && balanced() || still > 5*time.Second || time.Since(begin) > 20*time.Second
	})
}

// verify checks the sequences of rooms, when nothing is under way any more.
func (c *crowd) verify(r *report.Result) {
	c.swarm.Sync()
	var gaps, repeats int64
	for _, t := range c.byLoop {
		gaps += t.gaps
		repeats += t.repeats
	}
	if gaps > 0 {
		r.Problem("%d gaps in the sequences of rooms", gaps)
	}
	if repeats > 0 {
		r.Problem("%d repeated events of rooms", repeats)
	}
	for _, p := range c.problems.list() {
		r.Problem("%s", p)
	}
}

// problems collects what goes wrong, from any loop.
type problems struct {
	mu    sync.Mutex
	kinds map[string]int
	total int
}

// maxKinds bounds the texts that are kept, maxProblems the problems that a scenario may have.
const (
	maxKinds    = 10
	maxProblems = 1000
)

func (p *problems) add(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total++
	if p.kinds == nil {
		p.kinds = make(map[string]int)
	}
	if _, known := p.kinds[text]; known || len(p.kinds) < maxKinds {
		p.kinds[text]++
	}
}

func (p *problems) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// fatal tells whether there is a problem that makes going on useless.
func (p *problems) fatal() bool { return p.count() > 0 }

func (p *problems) suffix() string {
	if n := p.count(); n > 0 {
		return fmt.Sprintf(", %d problems", n)
	}
	return ""
}

func (p *problems) list() (texts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for text, n := range p.kinds {
		texts = append(texts, fmt.Sprintf("%d × %s", n, text))
	}
	return texts
}
