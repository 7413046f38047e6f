package load

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

const (
	queueLength = 16
	maxInFlight = 4
	giveUpAfter = 20 * time.Second // since the first attempt
)

// message is one logical message of a client.
type message struct {
	room    *room
	filler  string // random, by the seed
	inHand  int    // how many of the sender's messages may be in flight when it is invoked, itself included
	reply   int    // which of the last messages it answers; -1: none
	asides  history.Asides
	content string // set when invoked, as what follows
	id      string
	answers string // id of the message
	order   int
	first   history.Time // the first attempt
}

// sender invokes the messages of a client, and sees each of them through.
type sender struct {
	// Fixed at birth.
	*user
	conn  *connection
	rooms *rooms
	queue chan *message // bounded: what does not fit is skipped

	invoked int // messages; owned by run

	mu    sync.Mutex
	sends []history.Send // guarded by mu
}

func newSender(u *user, c *connection, rs *rooms) *sender {
	return &sender{user: u, conn: c, rooms: rs, queue: make(chan *message, queueLength)}
}

// offer queues a message, if there is room.
func (s *sender) offer(m *message) {
	select {
	case s.queue <- m:
	default:
		s.load.counters.skipped.Add(1) // the sender is behind
	}
}

// run invokes the queued messages in order.
func (s *sender) run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	slots := make(chan struct{}, maxInFlight)
	for {
		var m *message
		select {
		case <-ctx.Done():
			return
		case m = <-s.queue:
		}
		if !acquireSlot(ctx, slots, m.inHand) {
			return
		}
		k, ok := s.first(ctx, m)
		if !ok {
			<-slots
			continue
		}
		tasks.Go(func() {
			defer func() { <-slots; s.load.counters.inFlight.Add(-1) }()
			s.deliver(ctx, m, k)
		})
	}
}

// acquireSlot waits until fewer than limit messages are in flight. Slots beyond one's own are only held for a moment.
func acquireSlot(ctx context.Context, slots chan struct{}, limit int) bool {
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
func (s *sender) first(ctx context.Context, m *message) (call, bool) {
	for {
		if s.conn.awaitUp(ctx) != nil {
			return call{}, false
		}
		if !s.rooms.isMember(m.room) || s.conn.isRevoked() || !s.load.sending.Load() {
			s.load.counters.skipped.Add(1)
			return call{}, false
		}
		if m.order == 0 {
			s.invoked++
			m.order = s.invoked
			m.id = fmt.Sprintf("%s-%d", s.id, m.order)
			m.content = history.SentLabel(s.id, m.order) + m.filler
			if recent, _, _ := s.rooms.targets(m.room); m.reply >= 0 && len(recent) > 0 {
				to := recent[m.reply%len(recent)]
				m.answers, m.asides.Reply = to.id, to.seq
			}
		}
		k, err := s.attempt(m)
		if err == nil {
			m.first = k.at
			s.load.counters.inFlight.Add(1)
			return k, true
		}
	}
}

// draft is the argument of message:send.
type draft struct {
	RoomID      string `json:"roomId"`
	Content     string `json:"content"`
	ClientMsgID string `json:"clientMsgId"`

	ReplyTo  string    `json:"replyTo,omitempty"`
	Mentions *mentions `json:"mentions,omitempty"`
}

// mentions is whom a message mentions.
type mentions struct {
	Users []string `json:"users"`
	Room  bool     `json:"room"`
}

// mentions gives users by their ids; nil: nobody.
func (l *Load) mentions(users []int, everyone bool) *mentions {
	if len(users) == 0 && !everyone {
		return nil
	}
	m := &mentions{Users: make([]string, len(users)), Room: everyone}
	for i, user := range users {
		m.Users[i] = l.clients[user].user.id
	}
	return m
}

func (s *sender) attempt(m *message) (call, error) {
	arg := draft{m.room.id, m.content, m.id, m.answers, s.load.mentions(m.asides.Mentions, m.asides.Everyone)}
	k, err := s.conn.invoke("message:send", arg, nil)
	if err == nil {
		s.load.counters.sent.Add(1)
	}
	return k, err
}

// deliver sees a message through: until it is acked, refused for good, or 20 s have gone by.
func (s *sender) deliver(ctx context.Context, m *message, k call) {
	for {
		res := s.conn.await(ctx, k)
		wait, again := s.record(m, k, res)
		if !again {
			return
		}
		wait = max(wait, s.jitter(minRetry, maxRetry))
		if pause(ctx, wait) != nil {
			return
		}
		var ok bool
		if k, ok = s.retry(ctx, m); !ok {
			s.load.counters.givenUp.Add(1)
			return
		}
	}
}

// retry makes the next attempt as soon as the client is connected, if there is time left.
func (s *sender) retry(ctx context.Context, m *message) (call, bool) {
	ctx, cancel := context.WithTimeout(ctx, m.first+giveUpAfter-s.now())
	defer cancel()
	for {
		if s.conn.awaitUp(ctx) != nil || ctx.Err() != nil || s.conn.isRevoked() {
			return call{}, false
		}
		if k, err := s.attempt(m); err == nil {
			return k, true
		}
	}
}

// record writes an attempt down, and says whether and when to try again.
func (s *sender) record(m *message, k call, res reply) (wait time.Duration, again bool) {
	done := history.Send{
		User: s.index, Conn: k.conn, Room: m.room.index, ID: m.id, Body: history.Hash(m.content), Asides: m.asides, Order: m.order,
		Invoke: k.at, Return: s.now(),
	}
	counters := &s.load.counters
	e := res.answer.Error
	switch {
	case res.err != nil:
		done.Outcome, again = history.Unknown, true
		counters.unknown.Add(1)
	case res.answer.OK:
		done.Outcome, done.Seq, done.Message = history.OK, res.answer.Seq, res.answer.ID
		counters.acked.Add(1)
		s.load.heads[m.room.index].raise(done.Seq)
	case e.Code == "timeout":
		done.Outcome, done.Code, done.Retry, again = history.Unknown, e.Code, e.RetryAfterMs, true
		counters.unknown.Add(1)
	case e.Reason == history.ReplyGone:
		done.Outcome, done.Code = history.Fail, e.Reason
		counters.fail(e.Reason)
	default:
		done.Outcome, done.Code, done.Retry = history.Fail, e.Code, e.RetryAfterMs
		again = retryable(e.Code)
		counters.fail(e.Code)
	}
	s.mu.Lock()
	s.sends = append(s.sends, done)
	s.mu.Unlock()
	return time.Duration(done.Retry) * time.Millisecond, again
}

// into writes down the attempts.
func (s *sender) into(h *history.History) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.Sends = append(h.Sends, s.sends...)
}

// retryable is what docs/events.md says about codes, with unknown_event added: while services come and go it may be answered.
func retryable(code string) bool {
	switch code {
	case "unavailable", "rate_limited", "internal", "conflict", "unknown_event":
		return true
	}
	return false
}
