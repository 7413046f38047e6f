package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// client is one user of the load. Its parts have locks of their own, which are never held together.
type client struct {
	user   *user
	tokens *tokens
	conn   *connection
	rooms  *rooms
	sender *sender
	actor  *actor
	log    *ownLog
	others []*device // of the user's

	newcomer *device // another one, in the end; its inbox is what a new connection is told
}

// user is what the parts of a client have in common. All but the dice is fixed before any of them runs.
type user struct {
	load  *Load
	index int
	id    string
	role  role
	dice  dice
}

// dice is a client's random numbers, for its goroutines in whatever order they come.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand // guarded by mu
}

func newClient(l *Load, index int) *client {
	u := &user{
		load: l, index: index, id: l.plan.users[index], role: l.plan.roles[index],
		dice: dice{rng: random(l.cfg.Seed, uint64(index))}, //nolint:gosec // not negative
	}
	c := &client{user: u, tokens: newTokens(u), log: &ownLog{user: u}}
	c.rooms = newRooms(u, c.log)
	c.conn = newConnection(u, c.tokens, c.rooms, c.log)
	if u.role.suspect || u.role.several || u.role.listener { // in whose logs most happens, and nothing of their own
		c.others = append(c.others, newDevice(u, c.tokens, 1))
	}
	if u.role.several || u.role.listener {
		c.others = append(c.others, newDevice(u, c.tokens, 2)) //nolint:mnd // the third one
	}
	c.conn.fresh = u.role.absent
	c.rooms.conn = c.conn
	c.sender, c.actor = newSender(u, c.conn, c.rooms), newActor(u, c.conn, c.rooms)
	return c
}

// start starts the client's goroutines. They end with ctx.
func (c *client) start(ctx context.Context, tasks *sync.WaitGroup) {
	tasks.Go(func() { c.conn.run(ctx) })
	for _, d := range c.others {
		tasks.Go(func() { d.conn.run(ctx) })
	}
	tasks.Go(func() { c.rooms.steward(ctx) })
	tasks.Go(func() { c.sender.run(ctx) })
	tasks.Go(func() { c.actor.run(ctx) })
	if c.user.role.refresher {
		tasks.Go(func() { c.tokens.refresh(ctx, c.conn) })
	}
}

// now is the time of the run.
func (u *user) now() history.Time { return u.load.now() }

func (u *user) jitter(from, to time.Duration) time.Duration {
	u.dice.mu.Lock()
	defer u.dice.mu.Unlock()
	return from + time.Duration(u.dice.rng.Int64N(int64(to-from)))
}

// gateway picks one at random that takes connections, as a balancer would.
func (u *user) gateway() int {
	u.dice.mu.Lock()
	defer u.dice.mu.Unlock()
	all := u.dice.rng.Perm(len(u.load.cfg.Gateways))
	for _, i := range all {
		if accepts := u.load.cfg.Accepts; accepts == nil || accepts(i) {
			return i
		}
	}
	return all[0]
}

// failed counts the failure of a call, if it is one, and says how long to wait before the next.
func (u *user) failed(name string, r reply) (wait time.Duration) {
	switch {
	case r.err != nil:
		u.load.counters.fail(name + ":unknown")
	case !r.answer.OK:
		u.load.counters.fail(name + ":" + r.answer.Error.Code)
	default:
		return 0
	}
	return max(u.jitter(minRetry, maxRetry), time.Duration(r.answer.Error.RetryAfterMs)*time.Millisecond)
}

// How long a client waits before it tries a call again.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 500 * time.Millisecond
)

// roam leaves rooms, for good or for a while.
func (c *client) roam(ctx context.Context) {
	r := random(c.user.load.cfg.Seed, uint64(c.user.index)<<40) //nolint:gosec // not negative
	between := func(from, until time.Duration) time.Duration {
		return from + time.Duration(r.Int64N(int64(until-from)))
	}
	if c.user.role.outcast {
		if pause(ctx, between(outcastFrom, outcastUntil)) == nil {
			for _, room := range c.rooms.order {
				c.rooms.setWant(room, false)
			}
		}
		return
	}
	for pause(ctx, between(wandererFrom, wandererUntil)) == nil {
		room := c.rooms.order[r.IntN(len(c.rooms.order))]
		if _, private := c.user.load.plan.private[room.index]; private {
			continue // it could not come back
		}
		c.rooms.setWant(room, false)
		_ = pause(ctx, wanderFor) // it comes back also when the load ends
		c.rooms.setWant(room, true)
	}
}

// caughtUp tells whether the client is where it should be, and has seen the rooms' heads, if given, and all of its log. A revoked one is
// nowhere.
func (c *client) caughtUp(heads []head) bool {
	if c.conn.isRevoked() {
		return true
	}
	for _, d := range c.others {
		if !d.conn.isUp() || heads != nil && !d.log.caughtUp() {
			return false
		}
	}
	return c.conn.isUp() && c.rooms.caughtUp(heads) && (heads == nil || c.log.caughtUp())
}

func (c *client) describe() string {
	var s strings.Builder
	s.WriteString(fmt.Sprintf("%s (%s", c.user.id, c.conn.describe()))
	c.rooms.describe(&s)
	s.WriteString(c.log.describe())
	for _, d := range c.others {
		s.WriteString(fmt.Sprintf("%s (%s)", d.log.describe(), d.conn.describe()))
	}
	return s.String() + ")"
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if !run.Pause(ctx, d) {
		return ctx.Err()
	}
	return nil
}
