//go:build linux

package scenario

import (
	"context"
	"strconv"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/histogram"
	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

const (
	slowMembers = 1000                  // of the room
	slowShare   = 25                    // the room gets one of so many messages of Rate
	slowFeed    = 20 * time.Millisecond // between two messages for the slow consumer alone
	slowText    = 2000                  // bytes of each
)

// slow sends messages that are stored into a room of 1,000 at a steady rate: first while everybody reads, then while one member does not, for
// whom more and more waits. It compares what the others notice, and measures what the server keeps.
func (b *Bench) slow(ctx context.Context, r *report.Result) error {
	return b.slowShape(ctx, r, slowMembers, max(1, b.Rate/slowShare))
}

func (b *Bench) slowShape(ctx context.Context, r *report.Result, members, rate int) error {
	c, err := b.newCrowd(members - 1)
	if err != nil {
		return err
	}
	defer c.close()
	defer c.verify(r)
	if _, err := c.connect(ctx, members-1); err != nil {
		return err
	}
	if err := c.join(ctx, b.roomNames("slow", 1)); err != nil {
		return err
	}
	c.onEvent, c.onAck = c.latencyReceived, c.latencyAcked
	s, err := b.newSleeper(ctx, members-1, c.rooms[0])
	if err != nil {
		return err
	}
	defer s.close()

	p99 := func() float64 {
		return millis(c.merge(func(t *counts) *histogram.Histogram { return &t.receipts }).Quantile(0.99))
	}
	load := paced{name: "all read", event: "message:send", rate: rate, size: members - 1}
	if err := c.openLoop(ctx, r, load); err != nil {
		return err
	}
	well := p99()
	before, known := b.rss()
	s.sleep(ctx)
	load.name = "one does not read"
	err = c.openLoop(ctx, r, load)
	s.feeding()
	if err != nil {
		return err
	}
	if well > 0 {
		r.Add("receipt p99 of the others, one does not read / all read", "", p99()/well, report.Lower)
	}
	if known {
		after, _ := b.rss()
		addSlowMemory(r, before, after)
	}
	return s.wakeUp(ctx, r)
}

// addSlowMemory adds what the server held, in bytes, before a member stopped reading and at the end of that.
func addSlowMemory(r *report.Result, before, after int64) {
	r.Add("server RSS while all read", "MiB", float64(before)/(1<<20), report.Neutral)
	r.Add("server RSS while one does not", "MiB", float64(after)/(1<<20), report.Lower)
}

// sleeper is the slow consumer, and one who writes to it alone, in a room of theirs.
type sleeper struct {
	*crowd
	slow, writer *member
	closed       int    // how often the server ended the connection; owned by the slow consumer's loop
	got          int64  // messages that the slow consumer had when it stopped reading; the same
	feeding      func() // ends the writing, and waits for that
}

// newSleeper connects both. user is the number of the first.
func (b *Bench) newSleeper(ctx context.Context, user int, room string) (*sleeper, error) {
	c, err := b.newCrowd(2)
	if err != nil {
		return nil, err
	}
	c.user = user
	s := &sleeper{crowd: c, slow: c.members[0], writer: c.members[1], feeding: func() {}}
	if _, err := c.connect(ctx, 2); err != nil {
		c.close()
		return nil, err
	}
	if err := c.join(ctx, b.roomNames("slow-own", 1)); err != nil {
		c.close()
		return nil, err
	}
	c.onLost = func(m *member, _ bool, _ error) {
		if m == s.slow {
			s.closed++
		}
		time.AfterFunc(retryAfter, func() { m.conn.Do(func() { c.swarm.Redial(m.conn) }) })
	}
	s.slow.conn.Do(func() { s.slow.enter(room) })
	return s, nil
}

// sleep has the slow consumer read no more, and the writer write.
func (s *sleeper) sleep(ctx context.Context) {
	s.slow.conn.Do(func() {
		s.got = s.slow.got
		s.slow.conn.Pause()
	})
	s.swarm.Sync()
	text := make([]byte, slowText)
	for i := range text {
		text[i] = 'z'
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		every := time.NewTicker(slowFeed)
		defer every.Stop()
		for n := int64(1); ; n++ {
			select {
			case <-every.C:
				s.writer.conn.Do(func() { s.write(n, text) })
			case <-ctx.Done():
				return
			}
		}
	}()
	s.feeding = func() { stop(); <-ended }
}

func (s *sleeper) write(n int64, text []byte) {
	b := sioclient.BeginEvent(s.writer.conn.Scratch(), n, "message:send")
	b = append(append(append(b, `{"roomId":"`...), s.rooms[0]...), `","content":"`...)
	b = append(strconv.AppendInt(b, n, 10), ' ')
	s.writer.conn.Send(append(append(b, text...), `"}]`...))
}

// wakeUp has the slow consumer read on. One that the server has closed comes back.
func (s *sleeper) wakeUp(ctx context.Context, r *report.Result) error {
	closed, read := 0, int64(0)
	s.slow.conn.Do(func() {
		read = s.slow.got - s.got
		s.slow.conn.Resume()
	})
	s.swarm.Sync()
	if read > 0 {
		r.Problem("the slow consumer read %d messages while it was to read none", read)
	}
	if err := s.awaitQuiet(ctx, func() bool { return s.sum(openedCount) == 2 }); err != nil {
		return err
	}
	s.slow.conn.Do(func() { closed = s.closed })
	s.swarm.Sync()
	r.Add("slow consumer: closed by the server", "", float64(closed), report.Neutral)
	if open := s.sum(openedCount); open != 2 {
		r.Problem("the slow consumer did not come back")
	}
	return nil
}
