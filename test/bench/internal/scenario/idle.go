//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/histogram"
	"github.com/starling-chat/starling/test/bench/internal/report"
)

const (
	warmConns = 100             // before memory is measured, so that the server has made what it makes once
	idleWait  = 5 * time.Second // until the server has given back what connecting took
)

// idle connects many users of their own and measures how fast, and what memory they hold.
func (b *Bench) idle(ctx context.Context, r *report.Result) error {
	warm := min(warmConns, b.IdleConns)
	c, err := b.newCrowd(warm + b.IdleConns)
	if err != nil {
		return err
	}
	defer c.close()
	defer c.verify(r)
	if _, err := c.connect(ctx, warm); err != nil {
		return err
	}
	quiet := func() string { return fmt.Sprintf("%d connected, waiting for quiet", c.sum(openedCount)) }
	before, known, err := b.stableRSS(ctx, quiet)
	if err != nil {
		return err
	}
	wait := b.profile(ctx, r, "connect", 3*time.Second)
	from := b.usage()
	took, err := c.connect(ctx, b.IdleConns)
	if err != nil {
		return err
	}
	to := b.usage()
	peak, _ := b.rss()
	wait()
	server, all := b.serverCPU(from, to)
	handshakes := c.merge(func(t *counts) *histogram.Histogram { return &t.handshakes })
	n := float64(b.IdleConns)
	r.Add("connections", "", n, report.Neutral)
	r.Add("connects", "1/s", n/took.Seconds(), report.Higher)
	r.Add("connects a server CPU-second", "1/s", n/server.Seconds(), report.Higher)
	r.Add("connects a CPU-second of everything", "1/s", n/all.Seconds(), report.Higher)
	r.Add("handshake p99", "ms", millis(handshakes.Quantile(0.99)), report.Lower)
	b.addCPU(r, "connecting: ", from, to)

	if err := b.pause(ctx, min(idleWait, b.Duration), quiet); err != nil {
		return err
	}
	from = b.usage()
	if err := b.pause(ctx, b.Duration, quiet); err != nil {
		return err
	}
	b.addCPU(r, "idle: ", from, b.usage())
	if known {
		after, _ := b.rss()
		addMemory(r, before, peak, after, n)
	}
	if err := b.keepHeap(ctx, "idle"); err != nil {
		r.Problem("no heap profile: %v", err)
	}
	if err := b.addCollected(ctx, r, before, n, quiet); err != nil {
		return err
	}
	if err := b.settle(ctx, r, c, before, known); err != nil {
		return err
	}
	if open := c.swarm.Totals().Open; open != int64(len(c.members)) {
		r.Problem("%d connections are open, want %d", open, len(c.members))
	}
	return nil
}

// addCollected adds what a connection takes once all garbage is gone.
func (b *Bench) addCollected(ctx context.Context, r *report.Result, before int64, connections float64, line func() string) error {
	collected, known, err := b.stableRSS(ctx, line)
	if err == nil && known && len(b.System.Admins) > 0 {
		r.Add("RSS a connection after collections", "KB", float64(collected-before)/connections/1000, report.Neutral)
	}
	return err
}

const (
	idleRoom = 10  // members of a room
	idleJoin = 500 // room:join on their way at once
)

// settle has all members join rooms of ten, each of other members, and measures the memory again. before is what the server
// held without connections.
func (b *Bench) settle(ctx context.Context, r *report.Result, c *crowd, before int64, known bool) error {
	if b.IdleRooms == 0 {
		return nil
	}
	c.several = true
	number := (len(c.members) + idleRoom - 1) / idleRoom
	for k := range b.IdleRooms {
		names := b.roomNames(fmt.Sprintf("idle%d", k), number)
		for at := 0; at < len(c.members); at += idleJoin {
			part := c.members[at:min(at+idleJoin, len(c.members))]
			want := c.sum(joinedCount) + int64(len(part))
			for i, m := range part {
				room := names[idleRoomOf(at+i, k, number)]
				m.conn.Do(func() { m.enter(room) })
			}
			line := func() string {
				return fmt.Sprintf("%d of %d joins%s", c.sum(joinedCount), b.IdleRooms*len(c.members), c.problems.suffix())
			}
			if err := b.until(ctx, time.Minute, line, func() bool { return c.sum(joinedCount) >= want || c.problems.fatal() }); err != nil {
				return err
			}
			if c.problems.fatal() {
				return errors.New("joins fail")
			}
		}
	}
	if !known {
		return nil
	}
	quiet := func() string { return "all are in their rooms, waiting for quiet" }
	if err := b.pause(ctx, min(idleWait, b.Duration), quiet); err != nil {
		return err
	}
	each := func(bytes int64) float64 { return float64(bytes-before) / float64(len(c.members)) / 1000 }
	after, _ := b.rss()
	r.Add(fmt.Sprintf("RSS a connection in %d rooms of ten", b.IdleRooms), "KB", each(after), report.Lower)
	if err := b.keepHeap(ctx, "rooms"); err != nil {
		r.Problem("no heap profile: %v", err)
	}
	collected, _, err := b.stableRSS(ctx, quiet)
	if err == nil && len(b.System.Admins) > 0 {
		r.Add(fmt.Sprintf("RSS a connection in %d rooms of ten after collections", b.IdleRooms), "KB", each(collected), report.Neutral)
	}
	return err
}

// idleRoomOf is the room that a member joins in a turn, by number: in the first one with its neighbours, and then with others each time.
func idleRoomOf(member, turn, rooms int) int {
	if turn == 0 {
		return member / idleRoom
	}
	return (member + turn*(member/rooms)) % rooms
}

// stableRSS has the server collect its garbage, where the server has an admin port, and waits until its memory does not shrink
// any more. Memory that the start has left free would otherwise hide what connections need.
func (b *Bench) stableRSS(ctx context.Context, line func() string) (bytes int64, known bool, err error) {
	last, known := b.rss()
	for range maxCollections {
		if err := b.collect(ctx, ""); err != nil {
			return 0, false, err
		}
		if err := b.pause(ctx, min(idleWait, b.Duration), line); err != nil {
			return 0, false, err
		}
		now, _ := b.rss()
		if now >= last-last/100 {
			return now, known, nil
		}
		last = now
	}
	return last, known, nil
}

// maxCollections bounds how many times stableRSS has the garbage collected.
const maxCollections = 12

// collect makes the server collect its garbage, as far as it has admin ports. It keeps the heap profile that the first one answers in path, unless
// path is empty.
func (b *Bench) collect(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, admin := range b.System.Admins {
		if err := fetch(ctx, "http://"+admin+"/debug/pprof/heap?gc=1", path); err != nil {
			return err
		}
		path = ""
	}
	return nil
}

// keepHeap keeps profiles that show which code holds the memory of idle connections.
func (b *Bench) keepHeap(ctx context.Context, when string) error {
	if b.Profile == "" || len(b.System.Admins) == 0 {
		return nil
	}
	if err := b.collect(ctx, ""); err != nil { // the first collection leaves what lies in pools
		return err
	}
	if err := b.collect(ctx, filepath.Join(b.Profile, b.System.Name+"-"+when+"-heap.pprof")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for name, path := range map[string]string{"goroutines": "/debug/pprof/goroutine?debug=1", "metrics": "/metrics"} {
		file := filepath.Join(b.Profile, b.System.Name+"-"+when+"-"+name+".txt")
		if err := fetch(ctx, "http://"+b.System.Admins[0]+path, file); err != nil {
			return err
		}
	}
	return nil
}

// storm drops all connections at once, as a restarted gateway or a lost network would, and lets them come back at once.
// A connection that is turned away tries again after 0.5 to 1.5 s, as the official client does.
func (b *Bench) storm(ctx context.Context, r *report.Result) error {
	c, err := b.newCrowd(b.IdleConns)
	if err != nil {
		return err
	}
	defer c.close()
	defer c.verify(r)
	if _, err := c.connect(ctx, b.IdleConns); err != nil {
		return err
	}
	if err := b.pause(ctx, 2*time.Second, func() string { return "before the storm" }); err != nil {
		return err
	}
	var refused atomic.Int64
	c.onLost = func(m *member, _ bool, _ error) {
		refused.Add(1)
		wait := 500*time.Millisecond + rand.N(time.Second) //nolint:gosec // spreading, not a secret
		time.AfterFunc(wait, func() { m.conn.Do(func() { c.swarm.Redial(m.conn) }) })
	}
	before, _ := b.rss()
	told, from, start := c.sum(presenceCount), b.usage(), time.Now()
	for _, m := range c.members {
		m.conn.Do(func() {
			if m.conn.Open() {
				c.byLoop[m.conn.Loop()].opened.Add(-1)
			}
			m.conn.Reset()
			c.swarm.Redial(m.conn)
		})
	}
	c.swarm.Sync()
	want := int64(len(c.members))
	var half, most time.Duration
	err = b.until(ctx, 2*time.Minute,
		func() string {
			return fmt.Sprintf("%d of %d back, %d turned away", c.sum(openedCount), want, refused.Load())
		},
		func() bool {
			back := c.sum(openedCount)
			if half == 0 && back >= want/2 {
				half = time.Since(start)
			}
			if most == 0 && back >= want*99/100 {
				most = time.Since(start)
			}
			return back >= want
		})
	if err != nil {
		return errors.Join(errors.New("not all came back"), err)
	}
	took, to := time.Since(start), b.usage()
	r.Add("connections", "", float64(want), report.Neutral)
	r.Add("half are back after", "s", half.Seconds(), report.Neutral)
	r.Add("99 % are back after", "s", most.Seconds(), report.Lower)
	r.Add("all are back after", "s", took.Seconds(), report.Lower)
	r.Add("turned away", "", float64(refused.Load()), report.Neutral)
	b.addCPU(r, "", from, to)
	if after, known := b.rss(); known {
		addStormMemory(r, before, after)
	}
	return b.untold(ctx, r, c, told)
}

// addStormMemory adds what the server held, in bytes, before everybody was cut off and when everybody was back.
func addStormMemory(r *report.Result, before, after int64) {
	r.Add("server RSS before", "MiB", float64(before)/(1<<20), report.Neutral)
	r.Add("server RSS when all are back", "MiB", float64(after)/(1<<20), report.Lower)
}

// untold reports what the users of a storm, who watch nobody, were told of who is online meanwhile and for two seconds after: nothing may
// come where the scope is not everyone. With everyone the list goes to all while no more than 500 are online.
func (b *Bench) untold(ctx context.Context, r *report.Result, c *crowd, before int64) error {
	if err := b.pause(ctx, 2*time.Second, func() string { return "after the storm" }); err != nil {
		return err
	}
	got := c.sum(presenceCount) - before
	r.Add("presence events to users who watch nobody", "", float64(got), report.Lower)
	if got > 0 && b.PresenceScope != "" && b.PresenceScope != "everyone" {
		r.Problem("%d presence events came to users who watch nobody", got)
	}
	return nil
}

// addMemory adds what the server held, in bytes, before, while and after it got its connections.
func addMemory(r *report.Result, before, peak, after int64, connections float64) {
	r.Add("server RSS before", "MiB", float64(before)/(1<<20), report.Neutral)
	r.Add("server RSS after connecting", "MiB", float64(peak)/(1<<20), report.Neutral)
	r.Add("server RSS idle", "MiB", float64(after)/(1<<20), report.Neutral)
	r.Add("RSS a connection", "KB", float64(after-before)/connections/1000, report.Lower)
}
