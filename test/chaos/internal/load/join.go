package load

import (
	"context"
	"encoding/json"
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

func (rs *rooms) join(ctx context.Context, r *room) (wait time.Duration) {
	rs.mu.Lock()
	r.history = nil
	arg := joinArgument{RoomID: r.id, Since: r.last}
	if arg.Since > 0 {
		arg.Limit = sinceLimit
	}
	if r.phase == left { // it comes again as one that was never there
		arg = joinArgument{RoomID: r.id}
	}
	rs.joining = r
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
	if res.err != nil {
		rs.mu.Lock()
		r.repeated = true
		rs.mu.Unlock()
	}
	return rs.failed("room:join", res)
}

func (rs *rooms) joinedLocked(r *room, v history.View, hasMore bool) {
	r.member, r.opening, r.buffered, r.phase = true, v, nil, catchingUp
	rs.joining = nil
	if v.Since == 0 || !hasMore {
		rs.openLocked(r)
	}
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
