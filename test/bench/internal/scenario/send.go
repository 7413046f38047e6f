//go:build linux

package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/histogram"
	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// content is what every message says: a hundred bytes.
var content = strings.Repeat("All work and no play. ", 5)[:100] //nolint:gochecknoglobals // a constant

// send has all conns send stored messages in a closed loop, spread over many rooms.
func (b *Bench) send(ctx context.Context, r *report.Result) error {
	return b.closedLoop(ctx, r, b.roomNames("send", min(b.Rooms, b.Conns)))
}

// hot is send with everybody in one room.
func (b *Bench) hot(ctx context.Context, r *report.Result) error {
	return b.closedLoop(ctx, r, b.roomNames("hot", 1))
}

// closedLoop keeps Window messages of each conn in flight: when one is acked, the conn sends the next.
func (b *Bench) closedLoop(ctx context.Context, r *report.Result, rooms []string) error {
	c, err := b.newCrowd(b.Conns)
	if err != nil {
		return err
	}
	defer c.close()
	defer c.verify(r)
	if _, err := c.connect(ctx, b.Conns); err != nil {
		return err
	}
	if err := c.join(ctx, rooms); err != nil {
		return err
	}
	c.onAck = c.sendAcked
	for _, m := range c.members {
		m.sent = make([]time.Duration, b.Window)
		m.conn.Do(func() {
			for slot := range b.Window {
				c.sendMessage(m, int64(slot))
			}
		})
	}
	line := c.loadLine()
	if err := b.pause(ctx, b.Warmup, line); err != nil {
		return err
	}
	c.measuring.Store(true)
	acked, delivered, totals := c.sum(ackedCount), c.sum(deliveredCount), c.swarm.Totals()
	from, to, err := b.during(ctx, r, r.Scenario, b.Duration, line)
	c.measuring.Store(false)
	acked, delivered = c.sum(ackedCount)-acked, c.sum(deliveredCount)-delivered
	bytes, frames := c.swarm.Totals().BytesIn-totals.BytesIn, c.swarm.Totals().Frames-totals.Frames
	owed := c.sum(dueCount) - c.sum(deliveredCount)
	c.stopping.Store(true)
	if err != nil {
		return err
	}
	err = c.awaitQuiet(ctx, func() bool {
		return c.sum(sentCount) == c.sum(ackedCount)+c.sum(failedCount) && c.sum(deliveredCount) == c.sum(dueCount)
	})
	if err != nil {
		return err
	}

	seconds := to.at.Sub(from.at).Seconds()
	server, all := b.serverCPU(from, to)
	acks := c.merge(func(t *counts) *histogram.Histogram { return &t.acks })
	r.Add("acked", "1/s", float64(acked)/seconds, report.Higher)
	r.Add("ack p50", "ms", millis(acks.Quantile(0.5)), report.Lower)
	r.Add("ack p99", "ms", millis(acks.Quantile(0.99)), report.Lower)
	r.Add("deliveries", "1/s", float64(delivered)/seconds, report.Higher)
	r.Add("deliveries owed at the end", "s", float64(owed)/float64(delivered)*seconds, report.Neutral)
	r.Add("acked a server CPU-second", "1/s", float64(acked)/server.Seconds(), report.Higher)
	r.Add("acked a CPU-second of everything", "1/s", float64(acked)/all.Seconds(), report.Higher)
	r.Add("deliveries a server CPU-second", "1/s", float64(delivered)/server.Seconds(), report.Higher)
	r.Add("bytes a frame", "B", float64(bytes)/float64(frames), report.Neutral)
	b.addCPU(r, "", from, to)
	c.verifyDeliveries(r)
	return nil
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

func (c *crowd) loadLine() func() string {
	acked, delivered, at := c.sum(ackedCount), c.sum(deliveredCount), time.Now()
	return func() string {
		a, d, now := c.sum(ackedCount), c.sum(deliveredCount), time.Now()
		s := now.Sub(at).Seconds()
		line := fmt.Sprintf("%.0f acks/s, %.0f deliveries/s, %d failed%s", float64(a-acked)/s, float64(d-delivered)/s,
			c.sum(failedCount), c.problems.suffix())
		acked, delivered, at = a, d, now
		return line
	}
}

// sendMessage sends the next message of a slot of m's window. The ack's id carries the slot; 0 is that of room:join.
func (c *crowd) sendMessage(m *member, slot int64) {
	if c.stopping.Load() || !m.conn.Open() {
		return
	}
	window := int64(c.bench.Window)
	id := m.next*window + slot + 1
	m.next++
	b := sioclient.BeginEvent(m.conn.Scratch(), id, "message:send")
	b = append(append(b, `{"roomId":"`...), c.rooms[m.room]...)
	b = append(append(append(b, `","content":"`...), content...), `"}]`...)
	m.sent[slot] = c.bench.now()
	c.byLoop[m.conn.Loop()].sent.Add(1)
	m.conn.Send(b)
}

// retryAfter is how long a sender waits after a refusal.
const retryAfter = 200 * time.Millisecond

func (c *crowd) sendAcked(m *member, t *counts, p sioclient.Packet) {
	slot := (p.ID - 1) % int64(c.bench.Window)
	if !okAck(p.Body) {
		t.failed.Add(1)
		c.problems.add("message:send was answered " + string(p.Body[:min(len(p.Body), 120)]))
		time.AfterFunc(retryAfter, func() { m.conn.Do(func() { c.sendMessage(m, slot) }) })
		return
	}
	m.acked++
	t.acked.Add(1)
	t.due.Add(c.sizes[m.room])
	if c.measuring.Load() {
		t.acks.Record(c.bench.now() - m.sent[slot])
	}
	c.sendMessage(m, slot)
}

// verifyDeliveries checks that every member got what the members of its room had acknowledged, neither more nor less.
func (c *crowd) verifyDeliveries(r *report.Result) {
	c.swarm.Sync()
	unanswered := c.sum(sentCount) - c.sum(ackedCount) - c.sum(failedCount)
	if unanswered > 0 {
		r.Problem("%d messages were never answered", unanswered)
	}
	acked := make([]int64, len(c.rooms))
	for _, m := range c.members {
		acked[m.room] += m.acked
	}
	var missing, extra int64
	for _, m := range c.members {
		missing += max(0, acked[m.room]-m.got)
		extra += max(0, m.got-acked[m.room])
	}
	if missing > 0 {
		r.Problem("%d deliveries of acknowledged messages are missing", missing)
	}
	if failed := c.sum(failedCount); extra > 0 && failed+unanswered == 0 {
		r.Problem("%d deliveries of messages that were not acknowledged", extra)
	}
}
