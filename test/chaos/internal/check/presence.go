package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// presence is invariant 9, from the lists that observers were sent:
//
//   - equal: from presenceTime after the last fault until the end, every list that an observer has is right. A right list has every
//     user who has been connected for a while, and nobody who has not been connected for presenceTime.
//   - calm: a list is also right if it came while no fault was under way and none had ended within presenceTime. During a fault
//     lists may be late.
//   - no flapping, at any time: a user who has been connected for presenceTime, with gaps of less than presenceGap, and who was in
//     the observer's last list does not disappear from the next one while the connection lasts. This is not judged while a fault
//     touches the client or the gateway of that connection, or did so within presenceTime: the client is out of reach then,
//     whatever its end of the connection believes.
func presence(x *index, r *Result) {
	p := &watch{x: x, r: r, cursor: make([]int, len(x.h.Users)), last: make(map[int]*history.Online)}
	p.indexSessions()
	p.indexGateways()
	p.indexCalm()
	first, end := p.calmFrom(), p.closing()
	calm := x.h.Config.Healed > 0 && first <= end
	looked := false
	for i := range x.h.Online {
		o := &x.h.Online[i]
		if calm && !looked && o.At > first {
			looked = true
			p.lookAt(first)
		}
		if o.At > end {
			break
		}
		p.flapped(o)
		if calm && o.At >= first || !p.troubled.meet(o.At, o.At) {
			p.equal(o, o.At, "was told")
		}
		p.last[o.User] = o
	}
	if !calm {
		r.note("the clients were closed within %s of the last fault: the last lists were not compared", presenceTime)
		return
	}
	if !looked {
		p.lookAt(first)
	}
	p.lookAt(end)
}

// watch goes through the lists by time.
type watch struct {
	x        *index
	r        *Result
	cursor   []int // by user: the last conn with Up at or before now, plus 1
	last     map[int]*history.Online
	sessions []intervals // by user: connections, with those that followed soon
	gateways []intervals // when a fault touches the gateway, or did within presenceTime
	troubled intervals   // any fault, and presenceTime after it
}

// presenceGap is the longest time between two connections of a user that others do not notice.
const presenceGap = 1500 * time.Millisecond

func (p *watch) indexSessions() {
	p.sessions = make([]intervals, len(p.x.h.Users))
	for user := range p.sessions {
		var list intervals
		for _, n := range p.x.conns[user] {
			c := &p.x.h.Conns[n]
			down := c.Down
			if down == 0 {
				down = max(p.x.h.Config.End, c.Up)
			}
			if last := len(list) - 1; last >= 0 && c.Up-list[last].to < presenceGap {
				list[last].to = max(list[last].to, down)
				continue
			}
			list = append(list, interval{c.Up, down})
		}
		p.sessions[user] = list
	}
}

// presentSince is since when the user has been present at a moment; false: it is not.
func (p *watch) presentSince(user int, t history.Time) (history.Time, bool) {
	list := p.sessions[user]
	n, _ := slices.BinarySearchFunc(list, t, func(i interval, t history.Time) int { return cmp.Compare(i.to, t) })
	if n == len(list) || list[n].from > t {
		return 0, false
	}
	return list[n].from, true
}

func (p *watch) indexGateways() {
	most := 0
	for i := range p.x.h.Conns {
		most = max(most, p.x.h.Conns[i].Gateway+1)
	}
	for g := range most {
		var list []interval
		for _, f := range p.x.faults {
			if len(f.Users) == 0 && touches(f, g) {
				list = append(list, interval{f.Start, p.x.endOfFault(f) + presenceTime})
			}
		}
		p.gateways = append(p.gateways, merged(list))
	}
}

func (p *watch) indexCalm() {
	list := make([]interval, 0, len(p.x.faults))
	for _, f := range p.x.faults {
		list = append(list, interval{f.Start, p.x.endOfFault(f) + presenceTime})
	}
	p.troubled = merged(list)
}

// calmFrom is when presence has to be right for good.
func (p *watch) calmFrom() history.Time {
	var last history.Time
	for _, f := range p.x.faults {
		last = max(last, p.x.endOfFault(f))
	}
	return last + presenceTime
}

// closing is when the rig began to close the clients. Lists that come later follow from that.
func (p *watch) closing() history.Time {
	end := p.x.h.Config.End
	for i := range p.x.h.Conns {
		if c := &p.x.h.Conns[i]; c.ByClient && c.Down > p.x.h.Config.Stopped {
			end = min(end, c.Down)
		}
	}
	return end
}

// upSince gives the user's connection at a moment; nil: none. Moments must not go back.
func (p *watch) upSince(user int, t history.Time) *history.Conn {
	conns := p.x.conns[user]
	for p.cursor[user] < len(conns) && p.x.h.Conns[conns[p.cursor[user]]].Up <= t {
		p.cursor[user]++
	}
	if p.cursor[user] == 0 {
		return nil
	}
	c := &p.x.h.Conns[conns[p.cursor[user]-1]]
	if c.Down > 0 && c.Down < t {
		return nil
	}
	return c
}

func (p *watch) flapped(o *history.Online) {
	before := p.last[o.User]
	if before == nil {
		return
	}
	for _, user := range before.Users {
		if !p.x.user(user) {
			continue
		}
		p.r.Checked++
		if listed(o, user) {
			continue
		}
		c := p.upSince(user, o.At)
		since, present := p.presentSince(user, o.At)
		if c == nil || !present || since+presenceTime > before.At || dropsSoon(c, o.At) {
			continue
		}
		if p.wasAtTroubled(user, o.At) {
			continue
		}
		if p.x.during(o.At, o.At, presenceTime, func(f *history.Fault) bool { return slices.Contains(f.Users, user) }) {
			continue
		}
		p.r.fail(p.x, o.At, "%s disappears from what %s was told at %s, but has been connected (now to gateway-%d) since %s", p.x.userName(user),
			p.x.userName(o.User), clock(o.At), c.Gateway, clock(since))
	}
}

// wasAtTroubled tells whether a connection that the user has, or had until lately, was to a gateway that is disturbed. When the
// lease of a gateway that hangs ends, its users are gone for the others, before its clients notice and come back elsewhere.
func (p *watch) wasAtTroubled(user int, t history.Time) bool {
	return slices.ContainsFunc(p.x.conns[user], func(n int32) bool {
		c := &p.x.h.Conns[n]
		lately := c.Up <= t && (c.Down == 0 || c.Down+presenceTime >= t)
		return lately && c.Gateway >= 0 && c.Gateway < len(p.gateways) && p.gateways[c.Gateway].meet(t, t)
	})
}

// dropsSoon: the list may know of the end before the client does.
func dropsSoon(c *history.Conn, t history.Time) bool {
	const soon = 2 * time.Second
	return c.Down > 0 && c.Down < t+soon
}

// lookAt compares what every connected observer knows at a moment.
func (p *watch) lookAt(t history.Time) {
	for user := range p.x.h.Users {
		const told = 2 * time.Second // a list comes at connect, and at most a second after a change
		if o := p.last[user]; o != nil && p.x.upAll(user, max(t-told, 0), t) {
			p.equal(o, t, "still believes")
		}
	}
}

// equal compares a list with the connections at a moment.
func (p *watch) equal(o *history.Online, t history.Time, how string) {
	for user := range p.x.h.Users {
		p.r.Checked++
		in := listed(o, user)
		c := p.upSince(user, t)
		switch {
		case in && c == nil && !p.x.mayBeUp(user, max(t-presenceTime, 0), t):
			p.r.fail(p.x, t, "%s %s at %s that %s is online, who has not been connected for %s", p.x.userName(o.User), how, clock(t),
				p.x.userName(user), presenceTime)
		case !in && c != nil && c.Up+presenceTime <= t && !dropsSoon(c, t):
			p.r.fail(p.x, t, "%s %s at %s that %s is offline, who has been connected since %s", p.x.userName(o.User), how, clock(t),
				p.x.userName(user), clock(c.Up))
		}
	}
}

func listed(o *history.Online, user int) bool {
	_, found := slices.BinarySearch(o.Users, user)
	return found
}
