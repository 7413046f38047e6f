package check

import (
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// The bounds of a drain. The rig runs gateways with this window.
const (
	drainWindow  = 2 * time.Second
	drainPart    = drainWindow / 10
	drainShare   = 0.35 // at most, of the connections, ended within any drainPart
	drainLeast   = 10   // connections that a statement about their spread needs
	drainSits    = time.Second
	drainHold    = time.Second          // of a client that had something in flight for as long, a gateway reads no more: its answers are its last
	drainReceipt = 5 * time.Second      // a receipt may be in flight for as long, of which the client hears nothing
	drainCross   = 5 * time.Millisecond // in flight while the gateway's close packet was, too
	// A request of long polling that reaches a listener in the moment of its closing is reset unread. A balancer gives it to another
	// gateway; the rig has none, so a polling connection that ends so is not the drain's loss.
	drainAccept = 100 * time.Millisecond
)

// drains is invariant 13, for each gateway that ended by SIGTERM.
//
// No operation is lost: the gateway did not accept an attempt on one of its connections whose outcome is Unknown. The gateway did
// accept the attempt if anybody saw the message before the next attempt, or if the connection lasted for drainSits without an
// answer and was read. An attempt that crosses with the end of its connection (drainCross) is not judged.
//
// The gateway's connections do not all end at once. When the clients dial again is not judged.
func drains(x *index, r *Result) {
	var seenAt map[place]history.Time
	for _, f := range x.faults {
		if !isDrain(f) {
			continue
		}
		if f.Unhealed != "" && !x.stoodStill(f.Start, f.End) {
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

// mattersToDrain tells whether a fault at the same time makes it impossible to judge a drain. All faults do but those of services
// that neither answer a send nor take part in a recovery.
func mattersToDrain(f *history.Fault) bool {
	return !strings.HasPrefix(f.Target, "presence-") || strings.Contains(f.Target, " ") || strings.Contains(f.Target, ",")
}

// link is a connection as a Send names it.
type link struct{ user, number int }

// drained are the connections that a drain ended.
func drained(x *index, f *history.Fault) map[link]*history.Conn {
	const last = 3 * time.Second // of the gateway's final packets
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
			if c == nil || s.Outcome != history.Unknown || s.Code != "" || s.Return < f.Start { // a timeout is an answer
				continue
			}
			if c.Polling && c.Down-f.Start <= drainAccept || c.Down-s.Invoke <= drainCross || s.Invoke < f.Start && x.during(s.Invoke, f.Start, 0, other) { // the other fault may have it
				continue
			}
			taken := wasRead(c, s)
			if len(m.rows) > 0 {
				at, known := seenAt[place{m.room, x.seqOf(m)}]
				next := k + 1
				taken = taken || known && (next == len(m.sends) || at < x.h.Sends[m.sends[next]].Invoke)
			}
			if taken {
				r.fail(x, s.Invoke, "%s: %s read it and drained without an answer; the connection ended %s", x.sent(s), f.Target, clock(c.Down))
			}
		}
	}
}

// wasRead tells whether a gateway must have read what was sent and not answered before the connection ended.
func wasRead(c *history.Conn, s *history.Send) bool {
	sat, busy := c.Down-s.Invoke, s.Invoke-c.Busy
	return sat > drainSits && busy >= 0 && busy < drainHold && (c.Receipt == 0 || s.Invoke-c.Receipt > drainReceipt)
}

func spread(x *index, r *Result, f *history.Fault, conns map[link]*history.Conn) {
	if x.stalled(f.Start, f.Start+drainWindow) > 0 {
		r.note("the machine stood still while %s was drained at %s: what it did then it did at once", f.Target, clock(f.Start))
		return
	}
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
