package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

const (
	queueLength = 16
	maxInFlight = 4
	giveUpAfter = 20 * time.Second // since the first attempt
	minContent  = 50
	maxContent  = 400
	// Large messages go to the hot room, so that the send queues of its members who do not read fill up.
	largeContent = 6000
	largePercent = 20
	burstPercent = 25 // of the times a sender sends, it sends several at once
)

// message is one logical message of a client.
type message struct {
	room    *room
	filler  string // random, by the seed
	inHand  int    // how many of the sender's messages may be in flight when it is invoked, itself included
	content string // set when invoked
	id      string
	order   int
	first   history.Time // the first attempt
}

// sender invokes the queued messages in order.
func (c *client) sender(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	slots := make(chan struct{}, maxInFlight)
	for {
		var m *message
		select {
		case <-ctx.Done():
			return
		case m = <-c.queue:
		}
		if !takeSlot(ctx, slots, m.inHand) {
			return
		}
		k, ok := c.first(ctx, m)
		if !ok {
			<-slots
			continue
		}
		tasks.Go(func() {
			defer func() { <-slots; c.load.counters.inFlight.Add(-1) }()
			c.deliver(ctx, m, k)
		})
	}
}

// takeSlot waits until fewer than limit messages are in flight. Slots beyond one's own are only held for a moment.
func takeSlot(ctx context.Context, slots chan struct{}, limit int) bool {
	extra := cap(slots) - limit
	for i := range extra + 1 {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			for range i {
				<-slots
			}
			return false
		}
	}
	for range extra {
		<-slots
	}
	return true
}

// first makes the first attempt, once the client is connected. It is not made when the load has ended meanwhile, or the client is
// no member any more.
func (c *client) first(ctx context.Context, m *message) (call, bool) {
	for {
		if c.awaitUp(ctx) != nil {
			return call{}, false
		}
		c.mu.Lock()
		fit := m.room.member && c.revoked == 0
		c.mu.Unlock()
		if !fit || !c.load.sending.Load() {
			c.load.counters.skipped.Add(1)
			return call{}, false
		}
		if m.order == 0 {
			c.mu.Lock()
			c.orders++
			m.order = c.orders
			c.mu.Unlock()
			m.id = fmt.Sprintf("%s-%d", c.id, m.order)
			m.content = fmt.Sprintf("%s #%d %s", c.id, m.order, m.filler)
		}
		k, err := c.attempt(m)
		if err == nil {
			m.first = k.at
			c.load.counters.inFlight.Add(1)
			return k, true
		}
	}
}

// draft is the argument of message:send.
type draft struct {
	RoomID      string `json:"roomId"`
	Content     string `json:"content"`
	ClientMsgID string `json:"clientMsgId"`
}

func (c *client) attempt(m *message) (call, error) {
	k, err := c.invoke("message:send", draft{m.room.id, m.content, m.id}, nil)
	if err == nil {
		c.load.counters.sent.Add(1)
	}
	return k, err
}

// deliver sees a message through: until it is acked, refused for good, or 20 s have gone by.
func (c *client) deliver(ctx context.Context, m *message, k call) {
	for {
		res := c.await(ctx, k)
		wait, again := c.recordSend(m, k, res)
		if !again {
			return
		}
		wait = max(wait, c.jitter(100*time.Millisecond, 500*time.Millisecond))
		if pause(ctx, wait) != nil {
			return
		}
		var ok bool
		if k, ok = c.retry(ctx, m); !ok {
			c.load.counters.givenUp.Add(1)
			return
		}
	}
}

// retry makes the next attempt as soon as the client is connected, if there is time left.
func (c *client) retry(ctx context.Context, m *message) (call, bool) {
	ctx, cancel := context.WithTimeout(ctx, m.first+giveUpAfter-c.now())
	defer cancel()
	for {
		if c.awaitUp(ctx) != nil || ctx.Err() != nil || c.isRevoked() {
			return call{}, false
		}
		if k, err := c.attempt(m); err == nil {
			return k, true
		}
	}
}

// recordSend writes an attempt down, and says whether and when to try again.
func (c *client) recordSend(m *message, k call, res reply) (wait time.Duration, again bool) {
	s := history.Send{
		User: c.index, Conn: k.conn, Room: m.room.index, ID: m.id, Body: history.Hash(m.content), Order: m.order,
		Invoke: k.at, Return: c.now(),
	}
	counters := &c.load.counters
	e := res.answer.Error
	switch {
	case res.err != nil:
		s.Outcome, again = history.Unknown, true
		counters.unknown.Add(1)
	case res.answer.OK:
		s.Outcome, s.Seq, s.Message = history.OK, res.answer.Seq, res.answer.ID
		counters.acked.Add(1)
		c.load.sawHead(m.room.index, s.Seq)
	case e.Code == "timeout":
		s.Outcome, s.Code, s.Retry, again = history.Unknown, e.Code, e.RetryAfterMs, true
		counters.unknown.Add(1)
	default:
		s.Outcome, s.Code, s.Retry = history.Fail, e.Code, e.RetryAfterMs
		again = retryable(e.Code)
		counters.fail(e.Code)
	}
	c.mu.Lock()
	c.sends = append(c.sends, s)
	c.mu.Unlock()
	return time.Duration(s.Retry) * time.Millisecond, again
}

// retryable is what docs/events.md says about codes, with unknown_event added: while services come and go it may be answered.
func retryable(code string) bool {
	switch code {
	case "unavailable", "rate_limited", "internal", "conflict", "unknown_event":
		return true
	}
	return false
}

// generate queues messages at the rate until ctx ends, whatever becomes of them.
func (l *Load) generate(ctx context.Context) {
	r := random(l.cfg.Seed, streamGenerator)
	const burst = (100.0-burstPercent)/100 + burstPercent/100.0*3 // messages at a time, on average
	next := time.Now()
	for {
		next = next.Add(time.Duration(r.ExpFloat64() * burst / float64(l.cfg.Rate) * float64(time.Second)))
		if wait := time.Until(next); wait > 0 && pause(ctx, wait) != nil || ctx.Err() != nil {
			return
		}
		index := 0
		if len(l.plan.rooms) > 1 && r.IntN(100) >= hotPercent {
			index = 1 + r.IntN(len(l.plan.rooms)-1)
		}
		members := l.plan.members[index]
		c := l.clients[members[r.IntN(len(members))]]
		count, inHand := 1, 1
		if r.IntN(100) < burstPercent {
			count = 2 + r.IntN(maxInFlight-1)
			inHand = maxInFlight
		}
		for range count {
			m := &message{room: c.rooms[l.plan.rooms[index]], filler: filler(r, index == 0 && r.IntN(100) < largePercent), inHand: inHand}
			select {
			case c.queue <- m:
			default:
				l.counters.skipped.Add(1) // the sender is behind
			}
		}
	}
}

// filler makes random text, of what JSON and UTF-8 have to be careful with among other things.
func filler(r *rand.Rand, large bool) string {
	alphabet := []rune(`abcdefghijklmnopqrstuvwxyz      "\/<>&` + "\n\té茶😀\u2028")
	size := minContent + r.IntN(maxContent-minContent-len("u0123456789abcdef-000 #1000000 "))
	if large {
		size = largeContent
	}
	b := make([]byte, 0, size+4)
	for len(b) < size {
		b = append(b, string(alphabet[r.IntN(len(alphabet))])...)
	}
	return string(b)
}
