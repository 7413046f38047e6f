//go:build linux

package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// Frames of the fan-out are about this long when they arrive.
const fanoutFrame = 180 // bytes

// The shapes of the fan-out: rooms × members.
var shapes = []struct{ rooms, members int }{{100, 10}, {1, 1000}} //nolint:gochecknoglobals // a constant list

// fanout saturates the server with messages that are not stored. One sender of each room keeps a window of messages in flight:
// when it receives its own copy of one, it sends the next.
func (b *Bench) fanout(ctx context.Context, r *report.Result) error {
	for i, shape := range shapes {
		if err := b.fanoutShape(ctx, r, i, shape.rooms, shape.members); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bench) fanoutShape(ctx context.Context, r *report.Result, n, rooms, size int) error {
	c, err := b.newCrowd(rooms * size)
	if err != nil {
		return err
	}
	defer c.close()
	defer c.verify(r)
	if _, err := c.connect(ctx, rooms*size); err != nil {
		return err
	}
	if err := c.join(ctx, b.roomNames(fmt.Sprintf("fanout%d", n), rooms)); err != nil {
		return err
	}
	c.onEvent = c.fanoutReceived
	for _, window := range []int{16, 4} {
		name := fmt.Sprintf("%d × %d, %d in flight: ", rooms, size, window)
		if err := c.fanoutWindow(ctx, r, name, rooms, size, window); err != nil {
			return err
		}
	}
	return nil
}

// fanoutWindow runs the load with one size of the window. The first member of each room is its sender.
func (c *crowd) fanoutWindow(ctx context.Context, r *report.Result, name string, rooms, size, window int) error {
	b := c.bench
	c.stopping.Store(false)
	sent, got := c.sum(sentCount), c.sum(deliveredCount)
	for _, m := range c.members[:rooms] {
		if m.sent == nil {
			m.sent = make([]time.Duration, 1) // marks a sender
		}
		m.conn.Do(func() {
			for range window {
				c.fanoutSend(m)
			}
		})
	}
	line := c.loadLine()
	if err := b.pause(ctx, b.Warmup, line); err != nil {
		return err
	}
	delivered, totals := c.sum(deliveredCount), c.swarm.Totals()
	from, to, err := b.during(ctx, r, fmt.Sprintf("fanout-%dx%d-%d", rooms, size, window), b.Duration, line)
	delivered = c.sum(deliveredCount) - delivered
	bytes, frames := c.swarm.Totals().BytesIn-totals.BytesIn, c.swarm.Totals().Frames-totals.Frames
	c.stopping.Store(true)
	if err != nil {
		return err
	}
	err = c.awaitQuiet(ctx, func() bool { return (c.sum(sentCount)-sent)*int64(size) == c.sum(deliveredCount)-got })
	if err != nil {
		return err
	}
	server, all := b.serverCPU(from, to)
	r.Add(name+"deliveries", "1/s", float64(delivered)/to.at.Sub(from.at).Seconds(), report.Higher)
	r.Add(name+"deliveries a server CPU-second", "1/s", float64(delivered)/server.Seconds(), report.Higher)
	r.Add(name+"deliveries a CPU-second of everything", "1/s", float64(delivered)/all.Seconds(), report.Higher)
	r.Add(name+"bytes a frame", "B", float64(bytes)/float64(frames), report.Neutral)
	b.addCPU(r, name, from, to)
	if lost := (c.sum(sentCount)-sent)*int64(size) - (c.sum(deliveredCount) - got); lost != 0 {
		r.Problem("%s%d deliveries are missing of %d messages", name, lost, c.sum(sentCount)-sent)
	}
	return nil
}

func (c *crowd) fanoutSend(m *member) {
	if c.stopping.Load() || !m.conn.Open() {
		return
	}
	const around = len(`42["room:message",{"roomId":"","text":"","sender":"","timestamp":1234567890123}]`)
	room := c.rooms[m.room]
	pad := max(0, fanoutFrame-around-2*len(room))
	b := sioclient.BeginEvent(m.conn.Scratch(), sioclient.NoAck, "room:message")
	b = append(append(append(append(b, `{"roomId":"`...), room...), `","text":"`...), padding[:min(pad, len(padding))]...)
	c.byLoop[m.conn.Loop()].sent.Add(1)
	m.conn.Send(append(b, `"}]`...))
}

var padding = strings.Repeat("abcdefghij", fanoutFrame/10) //nolint:gochecknoglobals // a constant

func (c *crowd) fanoutReceived(m *member, _ *counts, _ sioclient.Packet) {
	if m.sent != nil {
		c.fanoutSend(m)
	}
}
