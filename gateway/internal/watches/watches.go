package watches

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/platform/run"
)

// Config says how much may be watched.
type Config struct {
	Most int // who watches whom, of all sockets
	// Behind tells that the rooms have not caught up since the bus was away: what was watched of one waits, because an event that was missed
	// may have put a watcher out of it. nil = never.
	Behind func() bool
}

// Watches tells the sockets of one gateway of those whom they watch.
type Watches struct {
	// Fixed at birth.
	behind  func() bool
	service Service
	nc      *nats.Conn
	stats   *stats.Stats
	log     *slog.Logger
	missed  chan struct{} // changes may have been missed
	checks  chan struct{} // a grant is to be checked
	ended   *watcher      // stands for the watcher of a socket that has ended

	graph graph // has a lock of its own
}

// New makes the watches of a gateway where nobody watches; Run serves those who will.
func New(cfg Config, service Service, nc *nats.Conn, st *stats.Stats, log *slog.Logger) *Watches {
	if cfg.Behind == nil {
		cfg.Behind = func() bool { return false }
	}
	return &Watches{
		behind: cfg.Behind, service: service, nc: nc, stats: st, log: log,
		missed: make(chan struct{}, 1), checks: make(chan struct{}, 1), ended: new(watcher),
		graph: newGraph(nc, cfg.Most, st),
	}
}

// Run hears of changes, sends them to those who watch, and looks for what was missed, until ctx ends.
func (t *Watches) Run(ctx context.Context) error {
	var g run.Group
	g.Go("presence changes", t.deliverLoop)
	g.Go("presence renewal", t.renewLoop)
	return g.Run(ctx)
}

// Place is one socket's among those that watch. Its zero value is ready; whoever owns the socket embeds it. It is one word, because
// most sockets watch nobody.
type Place struct {
	watcher atomic.Pointer[watcher] // nil until the socket watches somebody; Watches.ended in the end
}

// watcherOf is what a socket watches; nil when the socket has ended.
func (t *Watches) watcherOf(p *Place, s *session.Socket) *watcher {
	w := p.watcher.Load()
	if w == nil {
		w = newWatcher(s)
		if !p.watcher.CompareAndSwap(nil, w) {
			w = p.watcher.Load()
		}
	}
	if w == t.ended {
		return nil
	}
	return w
}

// LeftRoom is to be called when a socket has left a room: whom it watched because of it, it watches no more.
func (t *Watches) LeftRoom(p *Place, roomID string) {
	if w := p.watcher.Load(); w != nil && w != t.ended && t.graph.leftRoom(w, roomID) {
		t.checkSoon()
	}
}

// End ends the watches of a socket for good.
func (t *Watches) End(p *Place) {
	if w := p.watcher.Swap(t.ended); w != nil && w != t.ended {
		t.graph.end(w)
	}
}
