package check

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// outsiders is invariant 10:
//
//   - a live event was delivered to a member: by the room's own log, the user was one when the event took its number. A history
//     may have what was said before.
//   - between the ack of a leave and the next join a client gets nothing of the room.
//   - more than revokeTime after the answer to a revocation nothing is delivered to the user, and no connection of it is up.
//     Where a fault was under way between, it counts from the fault's end: what is stuck on a link arrives when it heals.
func outsiders(x *index, r *Result) {
	for user := range x.h.Users {
		limit := x.revokedBy(user)
		for room := range x.h.Rooms {
			members(x, r, user, room)
			left(x, r, user, room)
			if limit > 0 {
				silent(x, r, user, room, limit)
			}
		}
		if limit > 0 {
			shut(x, r, user, limit)
		}
	}
}

func members(x *index, r *Result, user, room int) {
	list := x.deliveries(x.pair(user, room))
	if len(list) == 0 {
		return
	}
	changes := x.memberships(room)[user]
	for _, n := range list {
		d := &x.h.Deliveries[n]
		r.Checked++
		if d.Source == history.Joined {
			continue
		}
		// The event that ends a membership may still be seen.
		i, _ := slices.BinarySearch(changes, uint64(d.Seq))
		if i%2 == 1 || i < len(changes) && changes[i] == uint64(d.Seq) {
			continue
		}
		r.fail(x, d.At, "%s saw event %d of %s at %s, and was no member when it happened", x.userName(user), d.Seq, x.roomName(room), clock(d.At))
	}
}

// memberships gives, by user, the sequences at which it became a member and ceased to be one, in turn.
func (x *index) memberships(room int) map[int][]uint64 {
	if x.members == nil {
		x.members = make([]map[int][]uint64, len(x.h.Rooms))
	}
	if x.members[room] != nil {
		return x.members[room]
	}
	m := make(map[int][]uint64)
	for seq := range x.rows[room] {
		e := x.event(room, uint64(seq))
		if e == nil {
			continue
		}
		inside := len(m[e.User])%2 == 1
		if strings.HasSuffix(e.Kind, "user-joined") && !inside || strings.HasSuffix(e.Kind, "user-left") && inside {
			m[e.User] = append(m[e.User], e.Seq)
		}
	}
	x.members[room] = m
	return m
}

func left(x *index, r *Result, user, room int) {
	pair := x.pair(user, room)
	views, list := x.views[pair], x.deliveries(pair)
	for i, n := range views {
		v := &x.h.Views[n]
		if !x.left(v) {
			continue
		}
		r.Checked++
		until := history.Time(math.MaxInt64)
		if i+1 < len(views) {
			until = x.h.Views[views[i+1]].Invoke
		}
		first, _ := slices.BinarySearchFunc(list, v.End, func(n int32, t history.Time) int { return cmp.Compare(x.h.Deliveries[n].At, t+1) })
		for _, n := range list[first:] {
			d := &x.h.Deliveries[n]
			if d.At >= until {
				break
			}
			r.fail(x, d.At, "%s saw event %d of %s at %s, after its leave was acked at %s", x.userName(user), d.Seq, x.roomName(room),
				clock(d.At), clock(v.End))
		}
	}
}

// revokedBy is when a revoked user has to be cut off; 0: it is not revoked.
func (x *index) revokedBy(user int) history.Time {
	at := x.h.Users[user].Revoked
	if at == 0 {
		return 0
	}
	limit := at + revokeTime
	for i := range x.h.Faults { // by start
		// The revocation is no fault of its own.
		if f := &x.h.Faults[i]; f.Start <= limit && x.endOfFault(f)+revokeGrace > limit && !slices.Contains(f.Users, user) {
			limit = x.endOfFault(f) + revokeGrace
		}
	}
	return limit
}

func silent(x *index, r *Result, user, room int, limit history.Time) {
	for _, n := range slices.Backward(x.deliveries(x.pair(user, room))) {
		d := &x.h.Deliveries[n]
		if d.At <= limit {
			return
		}
		r.fail(x, d.At, "%s saw event %d of %s at %s, %s after it was revoked", x.userName(user), d.Seq, x.roomName(room), clock(d.At),
			(d.At - x.h.Users[user].Revoked).Round(time.Millisecond))
	}
}

func shut(x *index, r *Result, user int, limit history.Time) {
	r.Checked++
	for _, n := range x.conns[user] {
		if c := &x.h.Conns[n]; c.Down == 0 || c.Down > limit {
			r.fail(x, limit, "connection %d of %s, up at %s, is still up at %s; the user was revoked at %s", c.Number, x.userName(user),
				clock(c.Up), clock(limit), clock(x.h.Users[user].Revoked))
		}
	}
}
