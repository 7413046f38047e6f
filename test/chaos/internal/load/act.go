package load

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// Acts are what clients do with messages that were sent: authors and moderators edit and delete, members react and take that back, moderators
// pin. One client does one after the other, and each until it is known what became of it, or 20 s have gone by.

const (
	actQueue  = 4
	sendsAct  = 5 // there is one act for so many messages
	mostMine  = 8 // reactions that a client may take back
	minEdit   = 20
	maxEdit   = 200
	laterPart = 4 // mark-unread goes back by a part of what is there

	renamesEvery = 4
)

// reactionKeys are few, so that counts grow.
func reactionKeys() []string { return []string{"+1", "👍🏽", "<ok> & \"so\"", "heart"} }

// order is what the generator has a client do; which message it is done with follows when it is done.
type order struct {
	room         *room
	what, choice int // 0 to 99, and any
	filler       string
}

// act is one thing that is done with a message.
type act struct {
	kind   string
	room   *room
	target target
	arg    any
	key    string // of a reaction
	body   uint64
	label  string
	order  int

	renames bool // it changes whom the message mentions
	first   history.Time
}

// actor does the acts of a client.
type actor struct {
	// Fixed at birth.
	*user
	conn  *connection
	rooms *rooms
	queue chan order // bounded: what does not fit is skipped

	// Owned by run.
	count int
	mine  []reaction // that the client has made

	mu   sync.Mutex
	acts []history.Act // guarded by mu
}

type reaction struct {
	room   *room
	target target
	key    string
}

func newActor(u *user, c *connection, rs *rooms) *actor {
	return &actor{user: u, conn: c, rooms: rs, queue: make(chan order, actQueue)}
}

// disturb has clients act until ctx ends.
func (l *Load) disturb(ctx context.Context) {
	r := random(l.cfg.Seed, streamActs)
	next := time.Now()
	for {
		next = next.Add(time.Duration(r.ExpFloat64() * sendsAct / float64(l.cfg.Rate) * float64(time.Second)))
		if wait := time.Until(next); wait > 0 && pause(ctx, wait) != nil || ctx.Err() != nil {
			return
		}
		index := r.IntN(len(l.plan.rooms))
		members := l.plan.members[index]
		c := l.clients[members[r.IntN(len(members))]]
		o := order{room: c.rooms.byID[l.plan.rooms[index]], what: r.IntN(100), choice: r.IntN(1 << 20), filler: edited(r)}
		select {
		case c.actor.queue <- o:
		default:
		}
	}
}

func edited(r *rand.Rand) string {
	b := make([]byte, minEdit+r.IntN(maxEdit-minEdit))
	for i := range b {
		b[i] = 'a' + byte(r.IntN(26)) //nolint:gosec // below 26
	}
	return string(b)
}

// run does what is queued, one after the other.
func (a *actor) run(ctx context.Context) {
	for {
		var o order
		select {
		case <-ctx.Done():
			return
		case o = <-a.queue:
		}
		if !a.load.sending.Load() || a.conn.isRevoked() || a.conn.awaitUp(ctx) != nil {
			continue
		}
		if t := a.choose(o); t != nil {
			a.load.counters.inFlight.Add(1)
			a.do(ctx, t)
			a.load.counters.inFlight.Add(-1)
		}
	}
}

// Shares of what is done, of 100, each up to the one before.
const (
	editsUpTo     = 35
	deletesUpTo   = 42
	reactsUpTo    = 72
	unreactsUpTo  = 84
	pinsUpTo      = 92
	erasableEvery = 2 // one room in so many has messages deleted; in the others the stream keeps everything
)

// erasable tells that messages are deleted in a room.
func erasable(room int) bool { return room%erasableEvery == 1 }

// choose makes an act of an order; nil: there is nothing to be done.
func (a *actor) choose(o order) *act {
	recent, last, ok := a.rooms.targets(o.room)
	if !ok || len(recent) == 0 {
		return nil
	}
	t := recent[o.choice%len(recent)]
	moderates := a.load.plan.moderates(a.index, o.room.index)
	changeable := moderates || t.mine
	if own := slices.DeleteFunc(slices.Clone(recent), func(t target) bool { return !t.mine }); !changeable && len(own) > 0 && o.what < deletesUpTo {
		t, changeable = own[o.choice%len(own)], true
	}
	switch {
	case o.what < editsUpTo && changeable, o.what < deletesUpTo && changeable && !erasable(o.room.index):
		return a.edit(o, t)
	case o.what < deletesUpTo && changeable:
		return a.act("message:delete", o.room, t, map[string]any{}, "", "")
	case o.what >= reactsUpTo && o.what < unreactsUpTo && len(a.mine) > 0:
		i := o.choice % len(a.mine)
		was := a.mine[i]
		a.mine = slices.Delete(a.mine, i, i+1)
		return a.react("message:unreact", was)
	case o.what < unreactsUpTo:
		is := reaction{o.room, t, reactionKeys()[o.choice%len(reactionKeys())]}
		a.mine = append(a.mine, is)
		a.mine = a.mine[max(0, len(a.mine)-mostMine):]
		return a.react("message:react", is)
	case o.what < pinsUpTo && moderates:
		kind := []string{"message:pin", "message:unpin"}[o.choice%2]
		return a.act(kind, o.room, t, map[string]any{}, "", "")
	}
	a.readUpTo(o, last)
	return nil
}

// act numbers an act with an idempotency key: a repeat gets the first answer.
func (a *actor) act(kind string, r *room, t target, arg map[string]any, label, content string) *act {
	a.count++
	arg["roomId"], arg["messageId"], arg["key"] = r.id, t.id, history.EditLabel(a.id, a.count)
	n := &act{kind: kind, room: r, target: t, arg: arg, label: label, order: a.count}
	if content != "" {
		n.body = history.Hash(content)
	}
	return n
}

// edit changes what a message says, and now and then whom it mentions, where messages are deleted as well: in the other rooms mentions only come.
func (a *actor) edit(o order, t target) *act {
	label := history.EditLabel(a.id, a.count+1)
	arg := map[string]any{"content": label + o.filler}
	renames := erasable(o.room.index) && o.choice%renamesEvery == 0
	if renames {
		members := a.load.plan.members[o.room.index]
		arg["mentions"] = a.load.mentions(members[o.choice%len(members):][:1], false)
	}
	n := a.act("message:edit", o.room, t, arg, label, label+o.filler)
	n.renames = renames
	return n
}

func (a *actor) react(kind string, is reaction) *act {
	a.count++
	arg := map[string]any{"roomId": is.room.id, "messageId": is.target.id, "key": is.key}
	return &act{kind: kind, room: is.room, target: is.target, arg: arg, key: is.key, order: a.count}
}

// readUpTo moves the marker forward or back, and does not care what becomes of it.
func (a *actor) readUpTo(o order, last uint64) {
	name, seq := "message:read", last
	if o.choice%laterPart == 0 {
		name, seq = "room:mark-unread", last-last/laterPart
	}
	_, _ = a.conn.invoke(name, map[string]any{"roomId": o.room.id, "seq": seq}, nil)
}

// targets are the messages of a room with which the client may do something now, and the last sequence that it has seen.
func (rs *rooms) targets(r *room) (recent []target, last uint64, ok bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return slices.Clone(r.recent), r.last, r.member && r.phase == open
}

// do sees an act through.
func (a *actor) do(ctx context.Context, t *act) {
	t.first = a.now()
	ctx, cancel := context.WithTimeout(ctx, giveUpAfter)
	defer cancel()
	for a.conn.awaitUp(ctx) == nil && ctx.Err() == nil {
		k, err := a.conn.invoke(t.kind, t.arg, nil)
		if err != nil {
			_ = pause(ctx, minRetry)
			continue
		}
		wait, again := a.record(t, k, a.conn.await(ctx, k))
		if !again || pause(ctx, max(wait, a.jitter(minRetry, maxRetry))) != nil {
			return
		}
	}
}

// record writes an attempt down, and says whether and when to try again.
func (a *actor) record(t *act, k call, res reply) (wait time.Duration, again bool) {
	done := history.Act{
		User: a.index, Conn: k.conn, Room: t.room.index, Kind: t.kind, Target: t.target.seq, Key: t.key, Body: t.body, Label: t.label, Renames: t.renames,
		Order: t.order, Invoke: k.at, Return: a.now(),
	}
	switch code := res.answer.Error.Code; {
	case res.err != nil:
		done.Outcome, again = history.Unknown, true
	case res.answer.OK:
		done.Outcome, done.Seq = history.OK, res.answer.Seq
	case code == "timeout":
		done.Outcome, done.Code, again = history.Unknown, code, true
	default:
		done.Outcome, done.Code, again = history.Fail, code, retryable(code)
		a.load.counters.fail(t.kind + ":" + code)
	}
	if done.Outcome == history.OK {
		a.load.counters.acts.Add(1)
		a.load.heads[t.room.index].raise(done.Seq)
	}
	a.mu.Lock()
	a.acts = append(a.acts, done)
	a.mu.Unlock()
	return time.Duration(res.answer.Error.RetryAfterMs) * time.Millisecond, again
}

// into writes down the attempts.
func (a *actor) into(h *history.History) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h.Acts = append(h.Acts, a.acts...)
}
