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
//     A fault that was under way then and can keep the gateway of a connection from hearing of it moves that, once, to revokeGrace
//     after its end. Nobody who was revoked is let in later.
func outsiders(x *index, r *Result) {
	for user := range x.h.Users {
		revoked := x.h.Users[user].Revoked > 0
		for room := range x.h.Rooms {
			members(x, r, user, room)
			left(x, r, user, room)
			if revoked {
				silent(x, r, user, room)
			}
		}
		if revoked {
			shut(x, r, user)
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
		if !x.left(v) || v.Removing > 0 { // of who was taken out members tells by the sequence
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

// revokedBy is when a revoked user has to be cut off from a gateway.
func (x *index) revokedBy(user, gateway int) history.Time {
	at := x.h.Users[user].Revoked
	limit := x.after(at, revokeTime)
	for _, f := range x.faults {
		if f.Start <= limit && x.endOfFault(f) >= at && hidesRevocation(f, gateway) {
			limit = max(limit, x.endOfFault(f)+revokeGrace)
		}
	}
	return limit
}

// hidesRevocation tells that a fault stands between the auth service and a gateway, or in that gateway, or between it and its clients.
func hidesRevocation(f *history.Fault, gateway int) bool {
	if f.Nemesis == machine {
		return true
	}
	if f.Nemesis == "time" || f.Nemesis == "storm" || f.Nemesis == "slow" && len(f.Users) > 0 {
		return false
	}
	if from, _, link := strings.Cut(f.Target, ">"); link && (strings.HasPrefix(from, "chat-") || strings.HasPrefix(from, "presence-")) {
		return false
	}
	if touches(f, gateway) {
		return true
	}
	ofAnother := strings.HasPrefix(f.Target, "gateway-") && strings.Contains(f.Target, ">")
	return !ofAnother && (strings.Contains(f.Target, "nats") || strings.Contains(f.Target, "auth"))
}

// limitOf is when a connection of a revoked user has to be cut off.
func (x *index) limitOf(user, number int) history.Time {
	gateway := -1
	if c := x.conn(user, number); c != nil {
		gateway = c.Gateway
	}
	return x.revokedBy(user, gateway)
}

func silent(x *index, r *Result, user, room int) {
	for _, n := range slices.Backward(x.deliveries(x.pair(user, room))) {
		d := &x.h.Deliveries[n]
		if d.At <= x.h.Users[user].Revoked+revokeTime {
			return
		}
		if d.At <= x.limitOf(user, int(d.Conn)) {
			continue
		}
		r.fail(x, d.At, "%s saw event %d of %s at %s, %s after it was revoked", x.userName(user), d.Seq, x.roomName(room), clock(d.At),
			(d.At - x.h.Users[user].Revoked).Round(time.Millisecond))
	}
}

func shut(x *index, r *Result, user int) {
	r.Checked++
	for _, n := range x.conns[user] {
		c := &x.h.Conns[n]
		switch limit := x.revokedBy(user, c.Gateway); {
		case c.Up > limit:
			r.fail(x, c.Up, "connection %d of %s (recovered: %t) was let in by gateway-%d at %s; the user was revoked at %s", c.Number,
				x.userName(user), c.Recovered, c.Gateway, clock(c.Up), clock(x.h.Users[user].Revoked))
		case c.Down == 0 || c.Down > limit:
			r.fail(x, limit, "connection %d of %s, up at %s, is still up at %s; the user was revoked at %s", c.Number, x.userName(user),
				clock(c.Up), clock(limit), clock(x.h.Users[user].Revoked))
		}
	}
}
