package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// Config says what load to make.
type Config struct {
	Seed     uint64
	Clients  int
	Rooms    int
	Rate     int      // messages a second, of all clients
	Gateways []string // host:port; each connection takes one at random
	// Direct are the same without anything between, in whose buffers what a slow client does not read would vanish; nil: Gateways.
	Direct []string
	// Accepts tells whether a gateway takes connections. A balancer goes to another one where it is refused, so do clients; nil
	// asks nobody.
	Accepts func(gateway int) bool
	Secret  string // JWT_SECRET of the system, which also has AUTH_AUTO_PROVISION=true
	APIKey  string // of a backend that makes private rooms; "": all rooms are public
	// Faults is for how long there are some, from the beginning of Run: for so long clients go away and come back as strangers.
	Faults time.Duration
	Start  time.Time
	Log    *slog.Logger
}

// Load is the clients. Connect, Run and Finish are called one after the other; the other methods at any time.
type Load struct {
	// Fixed before the clients run.
	cfg      Config
	log      *slog.Logger
	plan     plan
	byID     map[string]int // users, by their ids
	roomByID map[string]int // all rooms of the run
	clients  []*client

	// The clients' goroutines.
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	// Written by every client.
	counters counters
	heads    []head      // the highest sequence that anybody saw, by room
	said     []head      // and that of what inboxes tell: of a message that was sent, edited or deleted
	logHeads []head      // and that any of its devices heard of its log, by user
	sending  atomic.Bool // new messages may be invoked
}

// New plans the load; nothing runs yet.
func New(cfg Config) *Load {
	l := &Load{cfg: cfg, log: cfg.Log, plan: makePlan(cfg.Seed, cfg.Clients, cfg.Rooms, cfg.APIKey != ""), byID: make(map[string]int), roomByID: make(map[string]int)}
	l.heads, l.said, l.logHeads = make([]head, cfg.Rooms), make([]head, cfg.Rooms), make([]head, cfg.Clients)
	l.counters.failed, l.counters.keys = make(map[string]int), make(map[string]bool)
	for i, id := range l.plan.rooms {
		l.roomByID[id] = i
	}
	for i, id := range l.plan.users {
		l.byID[id] = i
		l.clients = append(l.clients, newClient(l, i))
	}
	return l
}

// dialEvery spreads the first connections.
const dialEvery = 5 * time.Millisecond

// Connect starts the clients and waits until all are connected and in their rooms. They go on until Finish, whatever becomes of ctx.
func (l *Load) Connect(ctx context.Context) error {
	if err := l.enrol(ctx); err != nil {
		return err
	}
	if err := l.found(ctx); err != nil {
		return err
	}
	var life context.Context
	life, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, c := range l.clients {
		c.start(life, &l.tasks)
		if err := pause(ctx, dialEvery); err != nil {
			return err
		}
	}
	return l.await(ctx, 0, func() error {
		missing := 0
		for _, c := range l.clients {
			if !c.caughtUp(nil) {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d clients are not connected and in their rooms; failures: %v", missing, len(l.clients), l.Status().Failed)
		}
		return nil
	})
}

// Run sends until ctx ends. Clients of which it is expected leave their rooms meanwhile, and members of private rooms are taken out.
func (l *Load) Run(ctx context.Context) error {
	l.sending.Store(true)
	defer l.sending.Store(false)
	var tasks sync.WaitGroup
	faults := l.now() + l.cfg.Faults
	for _, c := range l.clients {
		if c.user.role.absent {
			tasks.Go(func() { c.comeBack(ctx, faults) })
		}
		if c.user.role.several {
			tasks.Go(func() { c.race(ctx, c.conn) })
		}
		if c.user.role.outcast || c.user.role.wanderer {
			tasks.Go(func() { c.roam(ctx) })
		}
		for _, d := range c.others {
			tasks.Go(func() { d.comeAndGo(ctx) })
			if c.user.role.several {
				tasks.Go(func() { c.race(ctx, d.conn) })
			}
		}
	}
	for room, door := range l.plan.private {
		tasks.Go(func() { l.moderate(ctx, room, door) })
	}
	tasks.Go(func() { l.disturb(ctx) })
	l.generate(ctx)
	tasks.Wait()
	return nil
}

// Finish waits until every client is connected and has seen all that any client saw of its rooms, and until no message is in flight any more;
// or until ctx ends, which is an error that says what was missing. Then it looks at what the clients have, and closes them.
func (l *Load) Finish(ctx context.Context) error {
	err := l.await(ctx, quiet, l.incomplete)
	if err == nil {
		err = l.survey(context.WithoutCancel(ctx))
	}
	l.Close()
	return err
}

// Close ends the clients, wherever they are; it may be called again.
func (l *Load) Close() {
	for _, c := range l.clients {
		c.conn.end()
		for _, d := range c.others {
			d.conn.end()
		}
	}
	if l.cancel != nil {
		l.cancel()
	}
	l.tasks.Wait()
}

// quiet is for how long nothing may be missing before the load is at rest.
const quiet = 2 * time.Second

// incomplete says what is missing until the load is at rest.
func (l *Load) incomplete() error {
	behind, example := 0, ""
	for _, c := range l.clients {
		if !c.caughtUp(l.heads) {
			behind++
			example = c.describe()
		}
	}
	if n := l.counters.inFlight.Load(); behind > 0 || n > 0 {
		return fmt.Errorf("%d clients are behind, such as %s; %d messages in flight", behind, example, n)
	}
	return nil
}

// await polls until missing is nil for as long as it is to last.
func (l *Load) await(ctx context.Context, lasting time.Duration, missing func() error) error {
	since := time.Now()
	for {
		err := missing()
		if err != nil {
			since = time.Now()
		} else if time.Since(since) >= lasting {
			return nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			if err != nil {
				return err
			}
			return errors.New("not quiet for long enough")
		}
	}
}

// head is a sequence that only grows.
type head struct{ atomic.Uint64 }

// raise notes a sequence that exists.
func (h *head) raise(seq uint64) {
	for {
		old := h.Load()
		if seq <= old || h.CompareAndSwap(old, seq) {
			return
		}
	}
}

// now is the time of the run.
func (l *Load) now() history.Time { return time.Since(l.cfg.Start) }
