//go:build linux

package scenario

import (
	"context"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/histogram"
	"github.com/starling-chat/starling/test/bench/internal/report"
)

const (
	mixedSize     = 10 // members of a room
	mixedStored   = 5  // one of so many messages is stored
	mixedVisitors = 4  // a visitor for so many members
	mixedComing   = 10 // a visitor comes back for so many messages of Rate
)

// mixed does at once what the others measure one by one, at a steady rate and with capacity left, as a system in use has it: residents in rooms
// of ten send messages, of which a fifth are stored, while visitors leave without a word, come back, and join a room.
func (b *Bench) mixed(ctx context.Context, r *report.Result) error {
	size := min(mixedSize, b.Conns)
	rooms := b.Conns / size
	c, err := b.newCrowd(rooms * size)
	if err != nil {
		return err
	}
	defer c.close()
	defer c.verify(r)
	if _, err := c.connect(ctx, rooms*size); err != nil {
		return err
	}
	if err := c.join(ctx, b.roomNames("mixed", rooms)); err != nil {
		return err
	}
	c.onEvent, c.onAck = c.latencyReceived, c.latencyAcked
	v, err := b.newVisitors(ctx, rooms*size)
	if err != nil {
		return err
	}
	defer v.close()
	v.begin(ctx, max(1, b.Rate/mixedComing))
	start := time.Now()
	err = c.openLoop(ctx, r, paced{
		name: "residents", event: "room:message", every: mixedStored, other: "message:send", rate: b.Rate, size: size,
	})
	if v.end(); err != nil {
		return err
	}
	return v.report(ctx, r, time.Since(start))
}

// visitors are users who come and go.
type visitors struct {
	*crowd
	end func() // ends the leaving, and waits for that
}

// newVisitors connects the visitors of so many residents, whose users come before theirs, and has them join rooms of their own.
func (b *Bench) newVisitors(ctx context.Context, residents int) (*visitors, error) {
	n := max(1, residents/mixedVisitors)
	c, err := b.newCrowd(n)
	if err != nil {
		return nil, err
	}
	c.user = residents
	v := &visitors{crowd: c, end: func() {}}
	if _, err := c.connect(ctx, n); err != nil {
		c.close()
		return nil, err
	}
	if err := c.join(ctx, b.roomNames("mixed-visitors", max(1, n/mixedSize))); err != nil {
		c.close()
		return nil, err
	}
	c.swarm.Sync()
	for _, t := range c.byLoop {
		t.handshakes = histogram.Histogram{}
	}
	c.onOpen = func(m *member) { m.enter(c.rooms[m.room]) }
	return v, nil
}

// begin has visitors leave and come back, so many a second.
func (v *visitors) begin(ctx context.Context, rate int) {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		every := time.NewTicker(time.Second / time.Duration(rate))
		defer every.Stop()
		for n := 0; ; n++ {
			select {
			case <-every.C:
				m := v.members[n%len(v.members)]
				m.conn.Do(func() { v.again(m) })
			case <-ctx.Done():
				return
			}
		}
	}()
	v.end = func() { stop(); <-ended }
}

// again has a visitor who is there leave, and come back at once.
func (v *visitors) again(m *member) {
	if !m.conn.Open() || !m.joined {
		return // it is still coming
	}
	t := v.byLoop[m.conn.Loop()]
	t.opened.Add(-1)
	t.joined.Add(-1)
	m.joined = false
	m.conn.Reset()
	v.swarm.Redial(m.conn)
}

// report waits until all visitors are back, and reports how it went.
func (v *visitors) report(ctx context.Context, r *report.Result, took time.Duration) error {
	want := int64(len(v.members))
	if err := v.awaitQuiet(ctx, func() bool { return v.sum(openedCount) == want && v.sum(joinedCount) == want }); err != nil {
		return err
	}
	handshakes := v.merge(func(t *counts) *histogram.Histogram { return &t.handshakes })
	r.Add("visitors: came back", "1/s", float64(handshakes.Count())/took.Seconds(), report.Neutral)
	r.Add("visitors: handshake p50", "ms", millis(handshakes.Quantile(0.5)), report.Lower)
	r.Add("visitors: handshake p99", "ms", millis(handshakes.Quantile(0.99)), report.Lower)
	if open, joined := v.sum(openedCount), v.sum(joinedCount); open != want || joined != want {
		r.Problem("of %d visitors %d are back and %d in their rooms", want, open, joined)
	}
	for _, p := range v.problems.list() {
		r.Problem("visitors: %s", p)
	}
	return nil
}
