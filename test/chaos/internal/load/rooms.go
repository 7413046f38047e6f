package load

import (
	"context"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// phase is how a client stands to a room.
type phase uint8

const (
	outside  phase = iota // no open view
	catching              // let in, but history pages are still missing: live events are kept back
	open                  // the view is open
	left                  // room:leave was acked
)

// Sizes of history.
const (
	sinceLimit = 500
	pageLimit  = 100
)

// room is a client's state in one room; guarded by client.mu.
//
//	outside ──join acked──▶ catching ──all pages──▶ open ──leave acked──▶ left
//	   ▲                                              │
//	   └────────── connection not recovered ──────────┘
type room struct {
	index int
	id    string

	want bool // to be in it
	// leaving: a room:leave may have taken effect, and is repeated until it is acked, wanted or not.
	leaving bool
	member  bool // a join was acked, and no leave invoked since
	phase   phase
	last    uint64 // the highest sequence seen: where the next since starts
	view    int    // in client.views; -1 while there is none that is open

	// The join under way.
	repeated bool          // an earlier one on the same socket got no ack: the socket may be in the room
	history  []chatMessage // the last room:history, before its ack; then all pages
	opening  history.View
	held     []heldEvent
	lastRead uint64 // of receipts
}

// heldEvent is a live event that came while pages were fetched.
type heldEvent struct {
	seq    uint64
	hash   uint64
	source history.Source
}

// steward brings the client's rooms to where they are wanted, one step at a time.
func (c *client) steward(ctx context.Context) {
	for {
		if c.awaitUp(ctx) != nil {
			return
		}
		r, step := c.nextStep()
		if r == nil {
			select {
			case <-ctx.Done():
				return
			case <-c.changed:
			}
			continue
		}
		wait := step(ctx, r)
		if wait > 0 && pause(ctx, wait) != nil {
			return
		}
	}
}

// nextStep finds a room that is not where it is wanted.
func (c *client) nextStep() (*room, func(context.Context, *room) time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.order {
		switch {
		case r.leaving:
			return r, c.leave
		case r.want && r.phase == catching:
			return r, c.fetchPage
		case r.want && r.phase != open:
			return r, c.join
		case !r.want && r.phase != left && (r.member || r.view >= 0 || r.last > 0):
			return r, c.leave
		}
	}
	return nil, nil
}

// joinArgument is the argument of room:join.
type joinArgument struct {
	RoomID string `json:"roomId"`
	Since  uint64 `json:"since,omitempty"`
	Limit  int    `json:"limit,omitempty"`
}

func (c *client) join(ctx context.Context, r *room) (wait time.Duration) {
	c.mu.Lock()
	r.history = nil
	arg := joinArgument{RoomID: r.id, Since: r.last}
	if arg.Since > 0 {
		arg.Limit = sinceLimit
	}
	if r.phase == left { // it comes again as one that was never there
		arg = joinArgument{RoomID: r.id}
	}
	c.joining = r
	c.mu.Unlock()
	k, err := c.invoke("room:join", arg, func(k call, a answer) {
		if a.OK {
			c.joinedLocked(r, history.View{
				User: c.index, Room: r.index, Conn: k.conn, Since: arg.Since, Head: a.Seq, Start: c.now(), Invoke: k.at,
			}, a.HasMore)
		}
	})
	if err != nil {
		return c.jitter(100*time.Millisecond, 500*time.Millisecond)
	}
	res := c.await(ctx, k)
	if res.err != nil {
		c.mu.Lock()
		r.repeated = true
		c.mu.Unlock()
	}
	return c.after("room:join", res)
}

// after counts a failure and says how long to wait.
func (c *client) after(name string, res reply) time.Duration {
	switch {
	case res.err != nil:
		c.load.counters.fail(name + ":unknown")
	case !res.answer.OK:
		c.load.counters.fail(name + ":" + res.answer.Error.Code)
	default:
		return 0
	}
	return max(c.jitter(100*time.Millisecond, 500*time.Millisecond), time.Duration(res.answer.Error.RetryAfterMs)*time.Millisecond)
}

func (c *client) joinedLocked(r *room, v history.View, hasMore bool) {
	r.member, r.opening, r.held, r.phase = true, v, nil, catching
	c.joining = nil
	if v.Since == 0 || !hasMore {
		c.openLocked(r)
	}
}

// openLocked opens the view with all that is to be seen up to here.
func (c *client) openLocked(r *room) {
	r.view, r.phase, r.repeated = len(c.views), open, false
	c.views = append(c.views, r.opening)
	r.last = max(r.last, r.opening.Head)
	if r.opening.Since == 0 {
		r.last = r.opening.Head
	}
	for i := range r.history {
		m := &r.history[i]
		c.deliverLocked(r, m.Seq, history.EventHash("message:new", m.Seq, m.Sender.ID, m.ID, m.Content), history.Joined)
	}
	for _, e := range r.held {
		c.deliverLocked(r, e.seq, e.hash, e.source)
	}
	r.history, r.held = nil, nil
	c.wake()
}

// pageArgument is the argument of message:history.
type pageArgument struct {
	RoomID string `json:"roomId"`
	After  uint64 `json:"after"`
	Limit  int    `json:"limit"`
}

// fetchPage gets the next page of what a join with since left out.
func (c *client) fetchPage(ctx context.Context, r *room) (wait time.Duration) {
	c.mu.Lock()
	after, started := r.opening.Since, r.opening.Start
	if n := len(r.history); n > 0 {
		after = r.history[n-1].Seq
	}
	c.mu.Unlock()
	k, err := c.invoke("message:history", pageArgument{r.id, after, pageLimit}, func(_ call, a answer) {
		if !a.OK || r.phase != catching || r.opening.Start != started {
			return
		}
		for _, m := range a.Messages {
			if m.Seq <= r.opening.Head { // what is above comes live
				r.history = append(r.history, m)
			}
		}
		n := len(a.Messages)
		if !a.HasMore || n == 0 || a.Messages[n-1].Seq >= r.opening.Head {
			c.openLocked(r)
		}
	})
	if err != nil {
		return c.jitter(100*time.Millisecond, 500*time.Millisecond)
	}
	return c.after("message:history", c.await(ctx, k))
}

func (c *client) leave(ctx context.Context, r *room) (wait time.Duration) {
	c.mu.Lock()
	r.member, r.leaving = false, true
	c.mu.Unlock()
	k, err := c.invoke("room:leave", r.id, func(_ call, a answer) {
		// Forbidden: an earlier attempt, whose ack did not come, ended the membership.
		if !a.OK && a.Error.Code != "forbidden" && a.Error.Code != "not_found" {
			return
		}
		c.endViewLocked(r, c.now())
		r.phase, r.leaving = left, false
	})
	if err != nil {
		return c.jitter(100*time.Millisecond, 500*time.Millisecond)
	}
	res := c.await(ctx, k)
	c.mu.Lock()
	done := !r.leaving
	c.mu.Unlock()
	if wait = c.after("room:leave", res); done {
		return 0
	}
	return wait
}

// setWant says whether the client is to be in a room.
func (c *client) setWant(r *room, want bool) {
	c.mu.Lock()
	r.want = want
	c.mu.Unlock()
	c.wake()
}

// endViewsLocked ends what a connection that was not carried on had open.
func (c *client) endViewsLocked(at history.Time) {
	c.joining = nil
	for _, r := range c.order {
		c.endViewLocked(r, at)
		r.history, r.held, r.repeated = nil, nil, false
		if r.phase != left {
			r.phase = outside
		}
	}
}

func (c *client) endViewLocked(r *room, at history.Time) {
	if r.view >= 0 {
		c.views[r.view].End = at
		r.view = -1
	}
}
