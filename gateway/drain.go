package gateway

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/gateway/internal/peers"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/run"
)

// drain ends the sessions when the gateway stops: it stands between the edge, which has stopped accepting by then, and the
// relay, which still finishes what was accepted. Sessions are closed spread over the window, so that their clients do not
// all come to the other gateways at once. Where there are no others nothing is gained by that: clients would wait for this gateway's
// successor, which mostly starts when it is gone.
type drain struct {
	window   time.Duration
	alone    func() bool // no other gateway is there to take over; nil: unknown
	sessions *session.Server
	sockets  *transport.Server
	busy     func(*session.Session) bool // has events that are not answered
	carried  func() []carried            // the WebSockets of other gateways' sessions
	stats    *stats.Stats
	log      *slog.Logger

	draining atomic.Bool
}

// ready is the gateway's readiness: accepting and not draining. It does not depend on NATS or the services, or a short loss
// of one would take all gateways out of the load balancer at once.
func (d *drain) ready() error {
	if d.draining.Load() {
		return errDraining
	}
	return nil
}

// How a session with events in flight is let go: at the first moment without any, so that every answer is out before the
// close; one that is never without stops being read after busyPatience, and is closed anyway after busyLimit. A client on long polling
// has to come for its answers: the gateway may be gone when it does, so for busyPatience the moment has to be one in which it waits for more.
const (
	busyTick     = 5 * time.Millisecond
	busyPatience = time.Second
	busyLimit    = 6 * time.Second // longer than EVENT_TIMEOUT
)

// carried is a WebSocket of another gateway's session: that gateway is asked to end the session, which closes the WebSocket.
type carried interface {
	Ask()
	Close()
}

// with has the drain end what p carries, and returns p.
func (d *drain) with(p *peers.Peers) *peers.Peers {
	d.carried = func() (all []carried) {
		for _, l := range p.Leaving() {
			all = append(all, l)
		}
		return all
	}
	return p
}

// carriedLimit is how long the owner of a carried WebSocket may take to end its session; it needs busyLimit at most.
const carriedLimit = busyLimit + time.Second

// leaving is a session whose time has come.
type leaving struct {
	session *session.Session
	since   time.Time
	paused  bool
}

// run waits for the end and then drains.
func (d *drain) run(ctx context.Context) error {
	<-ctx.Done()
	d.draining.Store(true)
	d.stats.Draining.Set(1)
	open, window := d.sessions.Refuse(), d.window
	if d.alone != nil && d.alone() {
		window = 0
	}
	d.log.InfoContext(ctx, "draining", slog.Int("sessions", len(open)), slog.Duration("window", window))
	rand.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] }) //nolint:gosec // no secret
	others := d.carried()
	force := run.ForceStop(ctx)
	tick := time.NewTicker(busyTick)
	defer tick.Stop()
	start, next, asked, forced := time.Now(), 0, 0, false
	var busy []*leaving
	for next < len(open) || len(busy) > 0 || len(d.carried()) > 0 {
		select {
		case <-tick.C:
		case <-force:
			window, force, forced = 0, nil, true
		}
		now := time.Now()
		for ; next < len(open) && now.Sub(start) >= window*time.Duration(next)/time.Duration(len(open)); next++ {
			busy = append(busy, &leaving{session: open[next], since: now})
		}
		for ; asked < len(others) && now.Sub(start) >= window*time.Duration(asked)/time.Duration(len(others)); asked++ {
			others[asked].Ask()
		}
		if forced || now.Sub(start) >= window+carriedLimit {
			for _, c := range d.carried() {
				c.Close()
			}
		}
		busy = slices.DeleteFunc(busy, func(l *leaving) bool { return d.letGo(l, now, forced) })
	}
	if !forced {
		d.awaitPolls(tick.C, force)
	}
	d.sockets.Wait()
	return ctx.Err()
}

// awaitPolls gives clients on long polling the time to come for their final packets.
func (d *drain) awaitPolls(tick <-chan time.Time, force <-chan struct{}) {
	for end := time.Now().Add(busyPatience); (d.sessions.Count() > 0 || d.sessions.Owing()) && time.Now().Before(end); {
		select {
		case <-tick:
		case <-force:
			return
		}
	}
}

// letGoWhenIdle ends one session whose WebSocket is carried by a gateway that goes away.
func (d *drain) letGoWhenIdle(ctx context.Context, sid string) {
	s := d.sessions.Find(sid)
	if s == nil {
		return
	}
	tick := time.NewTicker(busyTick)
	defer tick.Stop()
	for l := (&leaving{session: s, since: time.Now()}); !d.letGo(l, time.Now(), false); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// letGo closes a session unless it is to wait.
func (d *drain) letGo(l *leaving, now time.Time, forced bool) (gone bool) {
	waited := now.Sub(l.since)
	if !forced && (waited < busyLimit && d.busy(l.session) || waited < busyPatience && !l.session.Settled()) {
		if waited > busyPatience && !l.paused {
			l.paused = true
			l.session.HoldBack()
		}
		return false
	}
	l.session.Close(transport.CodeRestart, transport.ReasonDrain)
	return true
}
