package check

import (
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// What a drain is held against. The rig runs gateways with this window.
const (
	drainWindow = 2 * time.Second
	drainPart   = drainWindow / 10
	drainShare  = 0.35 // at most, of the connections, ended within any drainPart
	drainLeast  = 10   // connections that a statement about their spread needs
	drainSits   = time.Second
	drainCross  = 5 * time.Millisecond // on the way while the gateway's goodbye was, too
	// A request of long polling that reaches a listener in the moment of its closing is reset unread. A balancer gives it to another
	// gateway; the rig has none, so a polling connection that ends so is not the drain's loss.
	drainAccept = 100 * time.Millisecond
)

// drains is invariant 13, for each gateway that ended by SIGTERM. No operation is lost: an attempt on one of its connections that
// is Unknown was not taken on. It was, if the message was seen by anyone before the next attempt, or if the connection went on
// for drainSits without an answer; what crosses with the end of a connection (drainCross) is nobody's. And its connections
// do not all end at once; when the clients dial again is their own doing.
func drains(x *index, r *Result) {
	var seenAt map[place]history.Time
	for _, f := range x.faults {
		if !isDrain(f) {
			continue
		}
		if f.Unhealed != "" {
			r.fail(x, f.Start, "%s: %s, at %s: %s", f.Target, f.Action, clock(f.Start), f.Unhealed)
		}
		conns := drained(x, f)
		other := func(g *history.Fault) bool { return g != f && mattersToDrain(g) }
		if x.during(f.Start, f.Start+drainWindow, 0, other) || len(conns) == 0 {
			r.note("the drain of %s at %s met another fault, or no clients, and was not judged", f.Target, clock(f.Start))
			continue
		}
		if seenAt == nil {
			seenAt = x.firstSeen()
		}
		r.Checked++
		lost(x, r, f, other, conns, seenAt)
		spread(x, r, f, conns)
	}
}

func isDrain(f *history.Fault) bool {
	return strings.Contains(f.Target, "gateway") && (f.Nemesis == "drain" || strings.Contains(strings.ToUpper(f.Action), "SIGTERM"))
}

// mattersToDrain tells whether a fault at the same time spoils the judgement: all do, save those of services that have no part
// in answering a send or in coming back by a recovery.
func mattersToDrain(f *history.Fault) bool {
	return !strings.HasPrefix(f.Target, "presence-") || strings.Contains(f.Target, " ") || strings.Contains(f.Target, ",")
}

// link is a connection as a Send names it.
type link struct{ user, number int }

// drained are the connections that a drain ended.
func drained(x *index, f *history.Fault) map[link]*history.Conn {
	const last = 3 * time.Second // of the gateway's last words
	conns := make(map[link]*history.Conn)
	for i := range x.h.Conns {
		c := &x.h.Conns[i]
		if c.Up < f.Start && c.Down >= f.Start && c.Down <= f.Start+drainWindow+last && !c.ByClient && touches(f, c.Gateway) {
			conns[link{c.User, c.Number}] = c
		}
	}
	return conns
}

type place struct {
	room int
	seq  uint64
}

// firstSeen is when each event of the database first reached anybody.
func (x *index) firstSeen() map[place]history.Time {
	at := make(map[place]history.Time)
	for i := range x.h.Deliveries {
		d := &x.h.Deliveries[i]
		p := place{int(d.Room), uint64(d.Seq)}
		if _, known := at[p]; !known {
			at[p] = d.At
		}
	}
	return at
}

func lost(x *index, r *Result, f *history.Fault, other func(*history.Fault) bool, conns map[link]*history.Conn, seenAt map[place]history.Time) {
	for i := range x.messages {
		m := &x.messages[i]
		for k, n := range m.sends {
			s := &x.h.Sends[n]
			c := conns[link{s.User, s.Conn}]
			if c == nil || s.Outcome != history.Unknown || s.Return < f.Start {
				continue
			}
			if c.Polling && c.Down-f.Start <= drainAccept || c.Down-s.Invoke <= drainCross || s.Invoke < f.Start && x.during(s.Invoke, f.Start, 0, other) { // the other fault may have it
				continue
			}
			taken := c.Down-s.Invoke > drainSits
			if len(m.rows) > 0 {
				at, known := seenAt[place{m.room, x.seqOf(m)}]
				next := k + 1
				taken = taken || known && (next == len(m.sends) || at < x.h.Sends[m.sends[next]].Invoke)
			}
			if taken {
				r.fail(x, s.Invoke, "%s: %s took it and drained without an answer; the connection ended %s", x.sent(s), f.Target, clock(c.Down))
			}
		}
	}
}

func spread(x *index, r *Result, f *history.Fault, conns map[link]*history.Conn) {
	times := make([]history.Time, 0, len(conns))
	for _, c := range conns {
		times = append(times, c.Down)
	}
	if len(times) < drainLeast {
		r.note("the drain of %s at %s ended %d connections, too few to judge their spread", f.Target, clock(f.Start), len(times))
		return
	}
	slices.Sort(times)
	most, at := 0, history.Time(0)
	for from, to := 0, 0; from < len(times); from++ {
		for to < len(times) && times[to] <= times[from]+drainPart {
			to++
		}
		if to-from > most {
			most, at = to-from, times[from]
		}
	}
	if float64(most) > drainShare*float64(len(times)) {
		r.fail(x, f.Start, "%d of the %d connections of %s, drained at %s, ended within %s, from %s on", most, len(times), f.Target,
			clock(f.Start), drainPart, clock(at))
	}
}
