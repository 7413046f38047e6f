package check

import (
	"slices"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// healed is invariant 8, with what else must hold of service during and after faults:
//
//   - recoveryTime after Healed each client is connected, has all its rooms open, and has seen what was their heads at Healed; in
//     the end the client has seen all that its rooms have. A user who left a room need not be in it. Outcasts need only be
//     connected; nothing is wanted of revoked users.
//   - an attempt is answered, or its connection lost, within answerTime, unless two faults overlap or the fault stands
//     between the client and its gateway (a frozen gateway answers nobody; the heartbeat finds out later).
//   - an attempt is OK unless it comes within recoveryTime of a fault. Attempts after a disk fault are left to disk.
//   - a connection lasts, unless the client ends it, or a fault, or recoveryTime after one.
//   - the refusal of a member is one that a client may retry.
func healed(x *index, r *Result) {
	deadline := x.recoveredBy(x.h.Config.Healed)
	if x.h.Config.Healed > 0 && x.h.Config.End >= deadline {
		for user := range x.h.Users {
			if x.h.Users[user].Revoked == 0 {
				caughtUp(x, r, user, deadline)
			}
		}
	} else {
		r.note("the run ended within %s of healing, or of the machine's last long stall: heads were compared in the end only", recoveryTime)
	}
	for user := range x.h.Users {
		if u := &x.h.Users[user]; x.h.Config.Healed > 0 && u.Revoked == 0 && !u.Outcast {
			inTheEnd(x, r, user)
		}
	}
	for i := range x.h.Conns {
		endsInPeace(x, r, &x.h.Conns[i])
	}
	for _, f := range x.faults {
		if f.Unhealed != "" && f.Nemesis != "disk" && !isDrain(f) && !x.stoodStill(f.Start, f.End) { // those have their own invariants
			r.fail(x, f.Start, "%s %s at %s: %s", f.Action, f.Target, clock(f.Start), f.Unhealed)
		}
	}
	for i := range x.h.Sends {
		r.Checked++
		service(x, r, &x.h.Sends[i])
	}
}

// endsInPeace finds connections that neither the client nor a fault ended.
func endsInPeace(x *index, r *Result, c *history.Conn) {
	if !x.user(c.User) || x.h.Users[c.User].Revoked > 0 {
		return
	}
	r.Checked++
	if c.Down > 0 && !c.ByClient && (x.h.Config.End == 0 || c.Down < x.h.Config.End) && !x.disturbed.meet(c.Down, c.Down) {
		r.fail(x, c.Down, "connection %d of %s with gateway-%d ended at %s (%s), and no fault for %s", c.Number, x.userName(c.User), c.Gateway,
			clock(c.Down), c.Reason, recoveryTime)
	}
}

// blink is how long a connection may be on its way to the next one.
const blink = time.Second

// caughtUp checks one client at the deadline.
func caughtUp(x *index, r *Result, user int, deadline history.Time) {
	r.Checked++
	if !x.upAt(user, deadline-blink, deadline+blink) {
		r.fail(x, deadline, "%s is not connected at %s", x.userName(user), clock(deadline))
		return
	}
	if x.h.Users[user].Outcast {
		return
	}
	for room := range x.h.Rooms {
		pair := x.pair(user, room)
		views := x.views[pair]
		if len(views) == 0 {
			continue
		}
		latest := latestAt(x, views, deadline)
		if latest == nil || x.left(latest) {
			continue // it is out of its own will
		}
		if latest.End > 0 && !openAt(x, views, deadline+blink) {
			r.fail(x, deadline, "%s is not back in %s at %s", x.userName(user), x.roomName(room), clock(deadline))
			continue
		}
		if at, head := x.sawBy(pair, deadline), x.mustSee(user, room, x.headAt(room, x.h.Config.Healed)); at < head {
			r.fail(x, deadline, "%s is at %d of %s at %s, whose head was %d when all was healed", x.userName(user), at, x.roomName(room),
				clock(deadline), head)
		}
	}
}

// inTheEnd checks one client when all is over: it has seen all that its rooms have.
func inTheEnd(x *index, r *Result, user int) {
	for room := range x.h.Rooms {
		pair := x.pair(user, room)
		views := x.views[pair]
		if len(views) == 0 {
			continue
		}
		if last := &x.h.Views[views[len(views)-1]]; last.End > 0 && x.left(last) {
			continue
		}
		r.Checked++
		if at, head := x.sawBy(pair, x.h.Config.End), x.mustSee(user, room, x.h.Rooms[room].LastSeq); at < head {
			r.fail(x, x.h.Config.End, "%s is at %d of %s in the end, whose head is %d", x.userName(user), at, x.roomName(room), head)
		}
	}
}

// latestAt is the view that began last before a moment; nil: none.
func latestAt(x *index, views []int32, t history.Time) *history.View {
	for _, n := range slices.Backward(views) {
		if v := &x.h.Views[n]; v.Start <= t {
			return v
		}
	}
	return nil
}

func openAt(x *index, views []int32, t history.Time) bool {
	for _, n := range slices.Backward(views) {
		if v := &x.h.Views[n]; v.Start <= t && (v.End == 0 || v.End >= t) {
			return true
		}
	}
	return false
}

// sawBy is up to where a client had seen a room at a moment.
func (x *index) sawBy(pair int, t history.Time) uint64 {
	var at uint64
	for _, n := range x.views[pair] {
		if v := &x.h.Views[n]; v.Start <= t {
			at = max(at, v.Head)
		}
	}
	for _, n := range slices.Backward(x.deliveries(pair)) {
		if d := &x.h.Deliveries[n]; d.At <= t {
			return max(at, uint64(d.Seq))
		}
	}
	return at
}

// headAt is the highest sequence of a room that somebody knew of at a moment: a lower bound of where it stood.
func (x *index) headAt(room int, t history.Time) uint64 {
	if x.heads == nil || x.headsAt != t {
		x.heads, x.headsAt = make([]uint64, len(x.h.Rooms)), t
		for i := range x.h.Sends {
			if s := &x.h.Sends[i]; s.Outcome == history.OK && s.Return <= t && x.room(s.Room) {
				x.heads[s.Room] = max(x.heads[s.Room], s.Seq)
			}
		}
		for i := range x.h.Deliveries {
			if d := &x.h.Deliveries[i]; d.At <= t && x.room(int(d.Room)) {
				x.heads[d.Room] = max(x.heads[d.Room], uint64(d.Seq))
			}
		}
	}
	return x.heads[room]
}

// mustSee is the last event up to head that the user is owed.
func (x *index) mustSee(user, room int, head uint64) uint64 {
	for seq := min(head, uint64(len(x.rows[room]))); seq > 0; seq-- {
		if e := x.event(room, seq); e != nil && x.owed(user, e) {
			return seq
		}
	}
	return 0
}

// service checks one attempt.
func service(x *index, r *Result, s *history.Send) {
	if x.excused(s) {
		return
	}
	if took := s.Return - s.Invoke - x.stalled(s.Invoke, s.Return); took > answerTime && !x.entangled.meet(s.Invoke, s.Return) {
		r.fail(x, s.Invoke, "%s: no answer for %s", x.sent(s), took.Round(time.Millisecond))
	}
	if s.Outcome == history.OK {
		return
	}
	if s.Outcome == history.Fail && !retryable(s.Code) {
		r.fail(x, s.Return, "%s: refused with %q, which tells the client not to try again", x.sent(s), s.Code)
		return
	}
	if x.disturbed.meet(s.Invoke, s.Return) {
		return
	}
	if last := x.lastBefore(s.Invoke); last != nil && last.Nemesis == "disk" && last.Unhealed == "" {
		return
	}
	r.fail(x, s.Return, "%s (code %q), and no fault for %s", x.sent(s), s.Code, recoveryTime)
}

// excused are attempts of those who may not send any more, and those that the rig itself cut off.
func (x *index) excused(s *history.Send) bool {
	if !x.user(s.User) {
		return true
	}
	u := &x.h.Users[s.User]
	if u.Revoked > 0 || u.Outcast && s.Outcome == history.Fail {
		return true
	}
	if (s.Code == "forbidden" || s.Code == "not_found") && x.room(s.Room) && len(x.memberships(s.Room)[s.User]) > 1 && !x.surelyIn(s) {
		return true // it left that room at some time, and the log has no times
	}
	if s.Code == history.ReplyGone {
		to, n := x.event(s.Room, s.Asides.Reply), x.byID[s.ID]
		return to != nil && to.Deleted && len(x.messages[n].rows) == 0
	}
	if s.Outcome != history.Unknown {
		return false
	}
	const after = time.Second
	c := x.conn(s.User, s.Conn)
	return c != nil && c.ByClient && c.Down > 0 && c.Down <= s.Return+after || s.Return >= x.h.Config.End && x.h.Config.End > 0
}

// surelyIn tells that the sender's view of the room was open all the time, and so much longer that no leave was under way either.
// During a disturbance a leave may be under way for long.
func (x *index) surelyIn(s *history.Send) bool {
	if x.disturbed.meet(s.Invoke, s.Return+answerTime) {
		return false
	}
	for _, n := range x.views[x.pair(s.User, s.Room)] {
		v := &x.h.Views[n]
		end := v.End
		if v.Removing > 0 {
			end = v.Removing
		}
		if v.Start <= s.Invoke && (end == 0 || end > s.Return+answerTime) {
			return true
		}
	}
	return false
}

// retryable are the codes of docs/events.md that a client may try again.
func retryable(code string) bool {
	switch code {
	case "unavailable", "timeout", "internal", "rate_limited", "conflict":
		return true
	}
	return false
}

// disk is invariant 12: after a disk fault nothing has to be done by hand. That everything acked is in the database is checked by
// acked, for all times.
func disk(x *index, r *Result) {
	var windows []interval // after each disk fault and recoveryTime, until the next fault
	for i, f := range x.faults {
		if f.Nemesis != "disk" {
			continue
		}
		r.Checked++
		if f.Unhealed != "" && !x.stoodStill(f.Start, f.End) {
			r.fail(x, f.Start, "%s %s at %s: %s", f.Action, f.Target, clock(f.Start), f.Unhealed)
		}
		backAgain(x, r, f)
		from, to := x.endOfFault(f)+recoveryTime, x.h.Config.Stopped
		for j, g := range x.faults {
			if j != i && g.Start <= to && x.endOfFault(g)+recoveryTime > from {
				to = min(to, max(g.Start, from))
			}
		}
		if to > from {
			windows = append(windows, interval{from, to})
		}
	}
	calm := merged(windows)
	worked := make([]int, len(calm))
	for i := range x.h.Sends {
		s := &x.h.Sends[i]
		for w := range calm {
			if s.Invoke < calm[w].from || s.Return > calm[w].to {
				continue
			}
			if s.Outcome == history.OK {
				worked[w]++
			} else if !x.excused(s) {
				r.fail(x, s.Return, "%s (code %q), more than %s after the disk had room again", x.sent(s), s.Code, recoveryTime)
			}
		}
	}
	const enough = 2 * time.Second
	for w := range calm {
		if worked[w] == 0 && calm[w].to-calm[w].from >= enough {
			r.fail(x, calm[w].from, "no send succeeded from %s to %s, after the disk had room again", clock(calm[w].from), clock(calm[w].to))
		}
	}
	if r.Checked > len(calm) {
		r.note("after %d of %d disk faults the next fault came too soon to expect all sends to succeed", r.Checked-len(calm), r.Checked)
	}
}

// backAgain wants at least one send to succeed that was invoked within recoveryTime of a disk fault's end, whatever else happens.
func backAgain(x *index, r *Result, f *history.Fault) {
	end := x.endOfFault(f)
	by := x.recoveredBy(end)
	tried := 0
	for i := range x.h.Sends {
		if s := &x.h.Sends[i]; s.Invoke > end && s.Invoke <= by {
			if s.Outcome == history.OK {
				return
			}
			tried++
		}
	}
	if tried > 0 {
		r.fail(x, end, "none of %d sends succeeded within %s after the disk of %s had room again at %s", tried, recoveryTime, f.Target, clock(end))
	}
}
