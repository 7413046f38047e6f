package load

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// counters are for progress only.
type counters struct {
	connected, inFlight                    atomic.Int64
	sent, acked, unknown, givenUp, skipped atomic.Int64
	delivered, receipts, refreshed         atomic.Int64
	reconnects, recovered                  atomic.Int64
	dialFailures, droppedReplays           atomic.Int64
	removals, acts                         atomic.Int64

	mu     sync.Mutex
	failed map[string]int
	keys   map[string]bool // that signed tokens
}

func (c *counters) fail(code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed[code]++
}

// Status is what the load has come to: Connected and InFlight now, the others since the start.
type Status struct {
	Connected, InFlight int
	Sent                int // attempts
	Acked, Unknown      int // of them
	GivenUp             int // messages without an ack after 20 s
	Skipped             int // messages that were not begun: the sender was behind, revoked, or had left
	Delivered           int // durable events, those of histories included
	Receipts            int
	Refreshed           int // tokens, in band
	Keys                int // that signed tokens of accounts
	Reconnects          int // connections beyond the first of each client
	Recovered           int // of them
	DialFailures        int // attempts that did not get as far as the reply to CONNECT
	// DroppedReplays are events of recoveries that broke off before the reply to CONNECT: an official client would show them
	// twice.
	DroppedReplays int
	Removals       int // of members from private rooms
	Acts           int // acked: edits, deletions, reactions, pins
	// Failed counts refusals by code. Those of other events than message:send have the event before the code.
	Failed map[string]int
}

// String is one line for the terminal.
func (s Status) String() string {
	return fmt.Sprintf("%d connected, %d in flight; %d attempts: %d ok, %d unknown, failed %v; %d given up, %d skipped; %d acts; %d delivered, "+
		"%d receipts, %d refreshed, %d keys; %d reconnects, %d recovered, %d dials failed", s.Connected, s.InFlight, s.Sent, s.Acked, s.Unknown, s.Failed,
		s.GivenUp, s.Skipped, s.Acts, s.Delivered, s.Receipts, s.Refreshed, s.Keys, s.Reconnects, s.Recovered, s.DialFailures)
}

// Status gives the live counters.
func (l *Load) Status() Status {
	c := &l.counters
	n := func(v *atomic.Int64) int { return int(v.Load()) }
	c.mu.Lock()
	defer c.mu.Unlock()
	return Status{
		Connected: n(&c.connected), InFlight: n(&c.inFlight), Sent: n(&c.sent), Acked: n(&c.acked), Unknown: n(&c.unknown),
		GivenUp: n(&c.givenUp), Skipped: n(&c.skipped), Delivered: n(&c.delivered), Receipts: n(&c.receipts), Refreshed: n(&c.refreshed), Keys: len(c.keys),
		Reconnects: n(&c.reconnects), Recovered: n(&c.recovered), DialFailures: n(&c.dialFailures),
		DroppedReplays: n(&c.droppedReplays), Removals: n(&c.removals), Acts: n(&c.acts), Failed: maps.Clone(c.failed),
	}
}

// DropAll resets every connection at once, and tells whose they were.
func (l *Load) DropAll() []int {
	var users []int
	var links []sioclient.Link
	for _, c := range l.clients {
		if link := c.conn.drop(); link != nil {
			users, links = append(users, c.user.index), append(links, link)
		}
		for _, d := range c.others {
			if link := d.conn.drop(); link != nil {
				links = append(links, link)
			}
		}
	}
	for _, link := range links {
		link.Reset()
	}
	return users
}

// Stall keeps a client from reading its socket for d.
func (l *Load) Stall(user int, d time.Duration) {
	l.clients[user].conn.stallEnd.Store(int64(l.now() + d))
}

// Slow gives the users that may be stalled.
func (l *Load) Slow() []int {
	return l.where(func(r role) bool { return r.slow })
}

// Revocable gives the users whose tokens may be revoked: those without another part to play.
func (l *Load) Revocable() []int {
	return l.where(role.plain)
}

func (l *Load) where(fits func(role) bool) []int {
	var users []int
	for i, r := range l.plan.roles {
		if fits(r) {
			users = append(users, i)
		}
	}
	return users
}

// Revoke tells that the tokens of a user were revoked at a time: it sends nothing more, and only tries to come back; its connection is left
// to the server to close.
func (l *Load) Revoke(user int, at history.Time) {
	l.clients[user].conn.revoke(at)
}

// Into writes what happened into h. It is called after Finish.
func (l *Load) Into(h *history.History) {
	for _, c := range l.clients {
		c.conn.into(h)
		c.sender.into(h)
		c.actor.into(h)
		c.rooms.into(h)
		c.log.into(h)
		for _, d := range c.others {
			d.conn.into(h)
			d.log.into(h)
			d.inbox.into(h)
		}
		if c.newcomer != nil {
			c.newcomer.inbox.into(h)
		}
	}
	for i, id := range l.plan.rooms {
		h.Rooms = append(h.Rooms, history.Room{ID: id, Hot: i == 0})
	}
	h.Keys = l.Status().Keys
	slices.SortStableFunc(h.Conns, func(a, b history.Conn) int { return cmp.Compare(a.Up, b.Up) })
	slices.SortStableFunc(h.Sends, func(a, b history.Send) int { return cmp.Compare(a.Invoke, b.Invoke) })
	sortedActs(h.Acts)
	slices.SortStableFunc(h.Views, func(a, b history.View) int { return cmp.Compare(a.Start, b.Start) })
	slices.SortStableFunc(h.Deliveries, func(a, b history.Delivery) int { return cmp.Compare(a.At, b.At) })
	slices.SortStableFunc(h.Heard, func(a, b history.Heard) int { return cmp.Compare(a.At, b.At) })
	slices.SortStableFunc(h.Online, func(a, b history.Online) int { return cmp.Compare(a.At, b.At) })
}
