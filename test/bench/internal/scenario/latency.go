//go:build linux

package scenario

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/histogram"
	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/bench/internal/swarm"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

const (
	latencyRooms = 50
	latencySize  = 10
)

// latency sends at a steady rate, whatever comes back, into rooms of ten: first messages that are stored, then messages that are not.
func (b *Bench) latency(ctx context.Context, r *report.Result) error {
	c, err := b.newCrowd(latencyRooms * latencySize)
	if err != nil {
		return err
	}
	defer c.close()
	defer c.verify(r)
	if _, err := c.connect(ctx, latencyRooms*latencySize); err != nil {
		return err
	}
	if err := c.join(ctx, b.roomNames("latency", latencyRooms)); err != nil {
		return err
	}
	c.onEvent, c.onAck = c.latencyReceived, c.latencyAcked
	for _, event := range []string{"message:send", "room:message"} {
		if err := c.openLoop(ctx, r, paced{name: event, event: event, rate: b.Rate, size: latencySize}); err != nil {
			return err
		}
	}
	return nil
}

// pace runs send and hot at half of the rate that they are to reach: it measures acks of a server that has capacity left.
func (b *Bench) pace(ctx context.Context, r *report.Result) error {
	rooms := min(b.Rooms, b.Conns)
	for _, p := range []paced{
		{name: "send", event: "message:send", rate: b.Pace, size: b.Conns / rooms},
		{name: "hot", event: "message:send", rate: b.Pace / 2, size: b.Conns},
	} {
		if err := b.paceOne(ctx, r, p); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bench) paceOne(ctx context.Context, r *report.Result, p paced) error {
	rooms := b.Conns / p.size
	c, err := b.newCrowd(rooms * p.size)
	if err != nil {
		return err
	}
	defer c.close()
	defer c.verify(r)
	if _, err := c.connect(ctx, rooms*p.size); err != nil {
		return err
	}
	if err := c.join(ctx, b.roomNames("pace-"+p.name, rooms)); err != nil {
		return err
	}
	c.onEvent, c.onAck = c.latencyReceived, c.latencyAcked
	return c.openLoop(ctx, r, p)
}

// paced is a load at a steady rate.
type paced struct {
	name  string // in the results
	event string
	every int    // each so many events are others; 0: none
	other string // those
	rate  int    // events a second
	size  int    // members of a room
}

// eventOf is the name of an event by its number.
func (p paced) eventOf(n int) string {
	if p.every > 0 && n%p.every == 0 {
		return p.other
	}
	return p.event
}

// openLoop sends events at a steady rate, from members in turn.
func (c *crowd) openLoop(ctx context.Context, r *report.Result, p paced) error {
	b := c.bench
	c.stopping.Store(false)
	sent, got, answered := c.sum(sentCount), c.sum(deliveredCount), c.sum(ackedCount)+c.sum(failedCount)
	c.swarm.Sync()
	for _, t := range c.byLoop {
		t.acks, t.receipts = histogram.Histogram{}, histogram.Histogram{}
	}
	running, stop := context.WithCancel(ctx)
	late := make(chan time.Duration, 1)
	go func() { late <- c.tick(running, p) }()
	defer stop()
	line := c.loadLine()
	if err := b.pause(ctx, b.Warmup, line); err != nil {
		return err
	}
	c.measuring.Store(true)
	from, to, err := b.during(ctx, r, r.Scenario+" "+p.name, b.Duration, line)
	c.measuring.Store(false)
	stop()
	slipped := <-late
	if err != nil {
		return err
	}
	err = c.awaitQuiet(ctx, func() bool {
		n := c.sum(sentCount) - sent
		return n == c.sum(ackedCount)+c.sum(failedCount)-answered && n*int64(p.size) == c.sum(deliveredCount)-got
	})
	if err != nil {
		return err
	}
	receipts := c.merge(func(t *counts) *histogram.Histogram { return &t.receipts })
	acks := c.merge(func(t *counts) *histogram.Histogram { return &t.acks })
	name := p.name + ": "
	r.Add(name+"deliveries", "1/s", float64(receipts.Count())/to.at.Sub(from.at).Seconds(), report.Neutral)
	r.Add(name+"receipt p50", "ms", millis(receipts.Quantile(0.5)), report.Lower)
	r.Add(name+"receipt p99", "ms", millis(receipts.Quantile(0.99)), report.Lower)
	r.Add(name+"receipt max", "ms", millis(receipts.Max()), report.Neutral)
	r.Add(name+"ack p50", "ms", millis(acks.Quantile(0.5)), report.Lower)
	r.Add(name+"ack p99", "ms", millis(acks.Quantile(0.99)), report.Lower)
	r.Add(name+"latest send behind its time", "ms", millis(slipped), report.Neutral)
	b.addCPU(r, name, from, to)
	if missing := (c.sum(sentCount)-sent)*int64(p.size) - (c.sum(deliveredCount) - got); missing != 0 {
		r.Problem("%s%d deliveries are missing", name, missing)
	}
	return nil
}

// tick sends on time until ctx ends and tells how late the latest was.
func (c *crowd) tick(ctx context.Context, p paced) (late time.Duration) {
	interval := time.Second / time.Duration(p.rate)
	timer := time.NewTimer(interval)
	defer timer.Stop()
	start := time.Now()
	for n := 1; ; n++ {
		due := start.Add(time.Duration(n) * interval)
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return late
		}
		late = max(late, time.Since(due))
		m := c.members[n*7%len(c.members)]
		m.conn.Do(func() { c.latencySend(m, p.eventOf(n)) })
	}
}

// latencySend sends one event that carries the time of its sending.
func (c *crowd) latencySend(m *member, event string) {
	m.next++
	now := c.bench.now()
	b := sioclient.BeginEvent(m.conn.Scratch(), int64(now), event) // the ack carries the time, too
	b = append(append(append(b, `{"roomId":"`...), c.rooms[m.room]...), `","content":"@@`...)
	b = strconv.AppendInt(b, int64(now), 10)
	b = append(append(append(b, ' '), content[:80]...), `"}]`...)
	c.byLoop[m.conn.Loop()].sent.Add(1)
	m.conn.Send(b)
}

func (c *crowd) latencyReceived(_ *member, t *counts, p sioclient.Packet) {
	at, ok := swarm.Int(p.Body, []byte(`@@`))
	if ok && c.measuring.Load() {
		t.receipts.Record(c.bench.now() - time.Duration(at))
	}
}

func (c *crowd) latencyAcked(_ *member, t *counts, p sioclient.Packet) {
	if !okAck(p.Body) {
		t.failed.Add(1)
		c.problems.add(fmt.Sprintf("an event was answered %.120s", p.Body))
		return
	}
	t.acked.Add(1)
	if c.measuring.Load() {
		t.acks.Record(c.bench.now() - time.Duration(p.ID))
	}
}
