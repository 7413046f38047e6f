package load

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// joinArgument is the argument of room:join.
type joinArgument struct {
	RoomID string `json:"roomId"`
	Since  uint64 `json:"since,omitempty"`
	Limit  int    `json:"limit,omitempty"`
}

// joinLocked begins a join.
func (rs *rooms) joinLocked(r *room) joinArgument {
	r.history, r.joining = nil, true
	arg := joinArgument{RoomID: r.id, Since: r.last}
	if arg.Since > 0 {
		arg.Limit = sinceLimit
	}
	if r.phase == left { // it comes again as one that was never there
		arg = joinArgument{RoomID: r.id}
	}
	return arg
}

func (rs *rooms) join(ctx context.Context, r *room) (wait time.Duration) {
	rs.mu.Lock()
	arg := rs.joinLocked(r)
	rs.mu.Unlock()
	k, err := rs.conn.invoke("room:join", arg, func(k call, a answer) {
		if a.OK {
			rs.mu.Lock()
			defer rs.mu.Unlock()
			rs.joinedLocked(r, history.View{
				User: rs.index, Room: r.index, Conn: k.conn, Since: arg.Since, Head: a.Seq, Start: rs.now(), Invoke: k.at,
			}, a.HasMore)
		}
	})
	if err != nil {
		return rs.jitter(minRetry, maxRetry)
	}
	res := rs.conn.await(ctx, k)
	rs.mu.Lock()
	r.answeredLocked(res.err)
	rs.mu.Unlock()
	return rs.failed("room:join", res)
}

// answeredLocked ends a join, or notes that nobody knows what became of it.
func (r *room) answeredLocked(err error) {
	if err != nil {
		r.repeated = true
		return
	}
	r.joining, r.entering = false, false
}

func (rs *rooms) joinedLocked(r *room, v history.View, hasMore bool) {
	r.member, r.opening, r.phase = true, v, catchingUp
	r.joining, r.entering = false, false
	r.buffered = slices.DeleteFunc(r.buffered, func(e seenEvent) bool { return e.seq <= v.Head })
	if v.Since == 0 || !hasMore {
		rs.openLocked(r)
	}
}

// enter joins all rooms that the client is outside of, in one round trip.
func (rs *rooms) enter(ctx context.Context, _ *room) (wait time.Duration) {
	var arg struct {
		Rooms []joinArgument `json:"rooms"`
	}
	since := make(map[string]uint64)
	var refused time.Duration // guarded by rs.mu
	rs.mu.Lock()
	for _, r := range rs.order {
		if r.want && !r.leaving && r.phase == outside {
			join := rs.joinLocked(r)
			arg.Rooms, since[r.id] = append(arg.Rooms, join), join.Since
			r.entering = true
		}
	}
	rs.mu.Unlock()
	k, err := rs.conn.invoke("room:enter", arg, func(k call, a answer) {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		for _, entered := range a.Rooms {
			r := rs.byID[entered.RoomID]
			switch since, asked := since[entered.RoomID]; {
			case !asked:
				rs.load.counters.fail("stray:" + "entered another room")
			case entered.OK:
				v := history.View{User: rs.index, Room: r.index, Conn: k.conn, Since: since, Head: entered.Seq, Start: rs.now(), Invoke: k.at}
				rs.joinedLocked(r, v, entered.HasMore)
			default:
				rs.load.counters.fail("room:enter:" + entered.Error.Code)
				refused = max(minRetry, time.Duration(entered.Error.RetryAfterMs)*time.Millisecond)
			}
		}
	})
	if err != nil {
		return rs.jitter(minRetry, maxRetry)
	}
	res := rs.conn.await(ctx, k)
	wait = rs.failed("room:enter", res)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for id := range since {
		rs.byID[id].answeredLocked(res.err)
	}
	return max(wait, refused)
}

// openLocked opens the view with all that is to be seen up to here.
func (rs *rooms) openLocked(r *room) {
	r.view, r.phase, r.repeated = len(rs.views), open, false
	rs.views = append(rs.views, r.opening)
	r.last = max(r.last, r.opening.Head)
	if r.opening.Since == 0 {
		r.last = r.opening.Head
	}
	rs.resumeLocked(r)
	for i := range r.history {
		m := &r.history[i]
		rs.deliverLocked(r, seenMessage(sioclient.Message{Name: "message:new", Args: []json.RawMessage{m.raw}}, m, history.Joined))
	}
	for _, e := range r.buffered {
		rs.deliverLocked(r, e)
	}
	r.history, r.buffered = nil, nil
	rs.wake()
}

// pageArgument is the argument of message:history.
type pageArgument struct {
	RoomID string `json:"roomId"`
	After  uint64 `json:"after"`
	Limit  int    `json:"limit"`
}

// fetchPage gets the next page of what a join with since left out.
func (rs *rooms) fetchPage(ctx context.Context, r *room) (wait time.Duration) {
	rs.mu.Lock()
	after, started := r.opening.Since, r.opening.Start
	if n := len(r.history); n > 0 {
		after = r.history[n-1].Seq
	}
	rs.mu.Unlock()
	k, err := rs.conn.invoke("message:history", pageArgument{r.id, after, pageLimit}, func(_ call, a answer) {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		if !a.OK || r.phase != catchingUp || r.opening.Start != started {
			return
		}
		for _, m := range a.Messages {
			if m.Seq <= r.opening.Head { // what is above comes live
				r.history = append(r.history, m)
			}
		}
		n := len(a.Messages)
		if !a.HasMore || n == 0 || a.Messages[n-1].Seq >= r.opening.Head {
			rs.openLocked(r)
		}
	})
	if err != nil {
		return rs.jitter(minRetry, maxRetry)
	}
	return rs.failed("message:history", rs.conn.await(ctx, k))
}

func (rs *rooms) leave(ctx context.Context, r *room) (wait time.Duration) {
	rs.mu.Lock()
	r.member, r.leaving = false, true
	rs.mu.Unlock()
	k, err := rs.conn.invoke("room:leave", r.id, func(_ call, a answer) {
		// Forbidden: an earlier attempt, whose ack did not come, ended the membership.
		if !a.OK && a.Error.Code != "forbidden" && a.Error.Code != "not_found" {
			return
		}
		rs.mu.Lock()
		defer rs.mu.Unlock()
		rs.endViewLocked(r, rs.now())
		r.phase, r.leaving = left, false
	})
	if err != nil {
		return rs.jitter(minRetry, maxRetry)
	}
	res := rs.conn.await(ctx, k)
	rs.mu.Lock()
	done := !r.leaving
	rs.mu.Unlock()
	if wait = rs.failed("room:leave", res); done {
		return 0
	}
	return wait
}
