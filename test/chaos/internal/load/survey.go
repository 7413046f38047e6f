package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/roomstate"
)

// When all is quiet the load looks at what is there: what each client has of its rooms, what somebody gets who knows nothing of a room and reads
// it from its beginning, and how far each device thinks that its user has read.

// surveyTime bounds that; a soak has thousands of pages.
const surveyTime = 2 * time.Minute

// survey asks for all of it. The clients are at rest, and connected.
func (l *Load) survey(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, surveyTime)
	defer cancel()
	var (
		tasks sync.WaitGroup
		mu    sync.Mutex
		errs  []error
	)
	try := func(what func(context.Context) error) {
		tasks.Go(func() {
			if err := what(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	for _, c := range l.clients {
		if c.conn.isRevoked() {
			continue
		}
		c.rooms.survey()
		if c.user.role.several {
			try(c.badges)
		}
		if len(c.others) > 0 {
			tasks.Go(func() { c.inboxes(ctx) })
		}
	}
	for room := range l.plan.rooms {
		if c := l.witness(room); c != nil {
			try(func(ctx context.Context) error { return c.readAll(ctx, room) })
		}
	}
	tasks.Wait()
	return errors.Join(errs...)
}

// witness is a client that may read a room.
func (l *Load) witness(room int) *client {
	for _, user := range l.plan.members[room] {
		c := l.clients[user]
		if _, _, ok := c.rooms.targets(c.rooms.byID[l.plan.rooms[room]]); ok && !c.conn.isRevoked() && !c.user.role.slow {
			return c
		}
	}
	return nil
}

// persist emits an event until it is acked.
func (c *connection) persist(ctx context.Context, name string, arg any) (answer, error) {
	for {
		if err := c.awaitUp(ctx); err != nil {
			return answer{}, fmt.Errorf("%s: %w", name, err)
		}
		k, err := c.invoke(name, arg, nil)
		if err == nil {
			res := c.await(ctx, k)
			wait := c.failed(name, res)
			if wait == 0 {
				return res.answer, nil
			}
			err = pause(ctx, wait)
		} else {
			err = pause(ctx, minRetry)
		}
		if err != nil {
			return answer{}, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// readAll reads a room from its beginning, by both ways that there are.
func (c *client) readAll(ctx context.Context, index int) error {
	id := c.user.load.plan.rooms[index]
	byHistory, byChanges := roomstate.NewCompact(), roomstate.NewCompact()
	for after, more := uint64(0), true; more; {
		a, err := c.conn.persist(ctx, "message:history", pageArgument{id, after, pageLimit})
		if err != nil {
			return err
		}
		for i := range a.Messages {
			after = a.Messages[i].Seq
			err = errors.Join(err, byHistory.Whole(a.Messages[i].raw))
		}
		if more = a.HasMore && len(a.Messages) > 0; err != nil {
			return err
		}
	}
	for since, more := uint64(0), true; more; {
		a, err := c.conn.persist(ctx, "message:changes", changesArgument{id, since})
		if err != nil {
			return err
		}
		for i := range a.Messages {
			err = errors.Join(err, byChanges.Whole(a.Messages[i].raw))
		}
		if since, more = max(since, a.UpTo), a.HasMore && a.UpTo > since; err != nil {
			return err
		}
	}
	c.rooms.mu.Lock()
	defer c.rooms.mu.Unlock()
	c.rooms.states = append(c.rooms.states, stateOf(c.user.index, index, history.KeptHistory, 0, byHistory), stateOf(c.user.index, index, history.KeptChanges, 0, byChanges))
	return nil
}

// badges notes what each of the user's devices shows of its rooms.
func (c *client) badges(ctx context.Context) error {
	ask := func(conn *connection, log *ownLog) error {
		a, err := conn.persist(ctx, "room:list", map[string]any{})
		if err != nil {
			return err
		}
		for _, listed := range a.Rooms {
			if r := c.rooms.byID[listed.RoomID]; r != nil {
				c.note(r, log, listed)
			}
		}
		return nil
	}
	err := ask(c.conn, c.log)
	for _, d := range c.others {
		err = errors.Join(err, ask(d.conn, d.log))
	}
	return err
}

func (c *client) note(r *room, log *ownLog, listed listedRoom) {
	b := history.Badge{User: c.user.index, Device: log.device, Room: r.index, Seq: listed.Marker.Seq, N: listed.Marker.N, Unread: listed.Unread, Mentions: listed.Mentions}
	told, known := log.marker(r.id)
	c.rooms.mu.Lock()
	if b.Settled = log.device == 0 && r.phase == open && !r.stale && r.last == c.user.load.heads[r.index].Load(); b.Settled {
		b.HeadN = r.head.n
	}
	own := r.own
	c.rooms.mu.Unlock()
	if known {
		b.Told, b.ToldN, b.Read = told.Seq, told.N, told.N
		if b.Settled && own.seq > told.At {
			b.Read = max(b.Read, own.n)
		}
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	log.badges = append(log.badges, b)
}

// How often a device of several moves markers.
const raceFrom, raceUntil = 100 * time.Millisecond, time.Second

// race has a device move its user's markers forward and back until ctx ends, while the others do the same.
func (c *client) race(ctx context.Context, conn *connection) {
	u := c.user
	for pause(ctx, u.jitter(raceFrom, raceUntil)) == nil {
		u.dice.mu.Lock()
		r, choice := c.rooms.order[u.dice.rng.IntN(len(c.rooms.order))], u.dice.rng.Uint64()
		u.dice.mu.Unlock()
		_, last, ok := c.rooms.targets(r)
		if !ok || last == 0 {
			continue
		}
		name, seq := "message:read", last
		if choice%3 == 0 {
			name, seq = "room:mark-unread", choice%last
		}
		if k, err := conn.invoke(name, map[string]any{"roomId": r.id, "seq": seq}, nil); err == nil {
			u.load.counters.inFlight.Add(1)
			_ = u.failed(name, conn.await(ctx, k))
			u.load.counters.inFlight.Add(-1)
		}
	}
}

// Times of those who go away and come back as strangers.
const (
	presentFrom, presentUntil = 2 * time.Second, 4 * time.Second
	absentFrom, absentUntil   = 2 * time.Second, 5 * time.Second
	absentBefore              = 8 * time.Second // the end of the faults: then everybody stays
)

// comeBack has a client go away and come back with a fresh session, again and again while there are faults.
func (c *client) comeBack(ctx context.Context, until history.Time) {
	for pause(ctx, c.user.jitter(presentFrom, presentUntil)) == nil && c.user.now() < until-absentBefore {
		c.conn.awayUntil.Store(int64(c.user.now() + c.user.jitter(absentFrom, absentUntil)))
		if link := c.conn.drop(); link != nil {
			link.Reset()
		}
	}
}

// sortedActs puts acts in the order in which they were invoked.
func sortedActs(acts []history.Act) {
	slices.SortStableFunc(acts, func(a, b history.Act) int { return int(a.Invoke - b.Invoke) })
}
