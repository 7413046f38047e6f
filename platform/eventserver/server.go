package eventserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/platform/stall"
	"github.com/starling-chat/starling/proto/subject"
)

// Service says who answers, and what.
type Service struct {
	// Name is the queue group of the service, in which each event goes to one replica, and its name in the catalog: one word.
	Name   string
	Routes []Route
	// Begin, where set, keeps events away from this replica until it is closed; other replicas get them meanwhile.
	Begin <-chan struct{}
}

// Route is one client event. Either Handle or Write is set.
type Route struct {
	Event string
	// Namespaces are the Socket.IO namespaces in which the event is answered; "*" stands for all, none for "/".
	Namespaces []string
	// Large tells that the answer may be large (a page, a list), so that it travels alone.
	Large bool
	// Repeatable tells that the event may be handled a second time, and late, without harm. A repeat of an event that is not
	// Repeatable is left unanswered: only the first attempt can tell what became of it. Where it depends on the arguments, the
	// route is Repeatable and returns ErrNotRepeatable.
	Repeatable bool
	// OneAtATime is for an event that is Repeatable and changes something, and whose repeat is not recognised: one that is done late would
	// do again what the client has undone since. A gateway then sends a repeat only when the attempt before may not be begun any more
	// (Request.Deadline), and answers the client only when no attempt may be.
	OneAtATime bool

	// Handle answers on the worker of the socket. Its ctx ends with the request's deadline.
	Handle func(ctx context.Context, r *Request) (*Reply, error)
	// Write answers later by calling done once, from any goroutine, and holds no worker meanwhile. Write itself must not
	// block: it runs in the goroutine that takes in all events, in the order in which the socket sent them.
	Write func(ctx context.Context, r *Request, done func(*Reply, error))
}

// Limits bound a Server; a field that is 0 has the default.
type Limits struct {
	Workers      int           // that handle events at the same time; default 32
	WorkerQueue  int           // events waiting for each worker; default 256; beyond, unavailable
	Inbox        int           // requests received and not yet looked at; default 16,384; beyond, NATS drops
	PendingBytes int64         // of events not yet answered; default 64 MiB; beyond, unavailable
	Timeout      time.Duration // of one event; default 4 s, less than a gateway's patience, so that the client hears why
	Stall        time.Duration // for which this process may stand still before what waits for it counts as old; default 3 s
}

const (
	defaultWorkers      = 32
	defaultWorkerQueue  = 256
	defaultInbox        = 16384
	defaultPendingBytes = 64 << 20
	defaultTimeout      = 4 * time.Second

	// drainTimeout bounds each wait for NATS at the end.
	drainTimeout = 3 * time.Second
)

// Server answers the client events of a Service while Run runs.
type Server struct {
	// Fixed at birth.
	nc      *nats.Conn
	service Service
	limits  Limits
	log     *slog.Logger
	metrics *metrics
	routes  map[string]*Route // by subject pattern
	inbox   chan *nats.Msg
	workers []chan *Request
	seed    maphash.Seed
	stalls  *stall.Watch
	clock   clock
	asked   chan struct{} // for an announcement; one serves all who ask meanwhile

	// Owned by the dispatcher.
	resumed time.Time // the stall after which was swept last
	heard   []uint64  // memory for ClientEvent.heard

	// Of all goroutines.
	open  sync.WaitGroup // batches not yet answered
	bytes atomic.Int64   // of them
}

// New returns a Server that uses a connection which the caller closes. It registers the counter
// starling_client_events_total{event,result} with registry, which may be nil. An error tells what is wrong with service.
func New(nc *nats.Conn, service Service, limits Limits, registry prometheus.Registerer, log *slog.Logger) (*Server, error) {
	limits = Limits{
		Workers:      cmp.Or(limits.Workers, defaultWorkers),
		WorkerQueue:  cmp.Or(limits.WorkerQueue, defaultWorkerQueue),
		Inbox:        cmp.Or(limits.Inbox, defaultInbox),
		PendingBytes: cmp.Or(limits.PendingBytes, defaultPendingBytes),
		Timeout:      cmp.Or(limits.Timeout, defaultTimeout),
		Stall:        limits.Stall,
	}
	routes, err := patterns(service)
	if err != nil {
		return nil, fmt.Errorf("service %q: %w", service.Name, err)
	}
	s := &Server{
		nc: nc, service: service, limits: limits, log: log, routes: routes,
		inbox: make(chan *nats.Msg, limits.Inbox), seed: maphash.MakeSeed(), stalls: stall.New(limits.Stall),
		clock: newClock(), asked: make(chan struct{}, 1),
	}
	if s.metrics, err = newMetrics(registry, service.Routes); err != nil {
		return nil, fmt.Errorf("service %q: %w", service.Name, err)
	}
	for range limits.Workers {
		s.workers = append(s.workers, make(chan *Request, limits.WorkerQueue))
	}
	return s, nil
}

// patterns gives the routes by the subject patterns that are subscribed for them.
func patterns(service Service) (map[string]*Route, error) {
	if service.Name == "" || strings.ContainsAny(service.Name, " \t\r\n.*>") {
		return nil, errors.New("the name must be one word without dots and wildcards")
	}
	routes := map[string]*Route{}
	for i := range service.Routes {
		r := &service.Routes[i]
		if (r.Handle == nil) == (r.Write == nil) {
			return nil, fmt.Errorf("route %q needs either Handle or Write", r.Event)
		}
		if r.OneAtATime && !r.Repeatable {
			return nil, fmt.Errorf("route %q is OneAtATime, but not Repeatable", r.Event)
		}
		namespaces := r.Namespaces
		if len(namespaces) == 0 {
			namespaces = []string{"/"}
		}
		for _, namespace := range namespaces {
			pattern, err := subject.ClientEventPattern(namespace, r.Event)
			if err != nil {
				return nil, fmt.Errorf("route %q: %w", r.Event, err)
			}
			for other := range routes {
				if subject.Match(other, pattern) || subject.Match(pattern, other) {
					return nil, fmt.Errorf("two routes for %q in namespace %q", r.Event, namespace)
				}
			}
			routes[pattern] = r
		}
	}
	return routes, nil
}

// Run answers until ctx ends, then finishes what it has taken. It returns an error when it cannot subscribe, and when a route
// has not answered long after its deadline.
func (s *Server) Run(ctx context.Context) error {
	work := context.WithoutCancel(ctx) // what was taken is answered; each event has its deadline
	var workers, dispatcher, announcer sync.WaitGroup
	for _, queue := range s.workers {
		workers.Go(func() {
			for r := range queue {
				s.serve(work, r)
			}
		})
	}
	stop := make(chan struct{})
	dispatcher.Go(func() { s.dispatchLoop(work, stop) })
	watching, stopWatching := context.WithCancel(work)
	dispatcher.Go(func() { _ = s.stalls.Run(watching) })
	announcing, stopAnnouncing := context.WithCancel(ctx)
	announcer.Go(func() { s.announceLoop(announcing) }) // before the first event comes: gateways know the clock by then

	subs, err := s.subscribe(ctx)
	if err == nil {
		<-ctx.Done()
	}
	stopAnnouncing()
	announcer.Wait()
	if s.nc.IsConnected() { // otherwise nothing is on its way
		drain(subs)
	}
	close(stop)
	stopWatching()
	dispatcher.Wait()
	for _, queue := range s.workers {
		close(queue)
	}
	return errors.Join(err, s.finish(work, &workers))
}

// subscribe takes the client events of all routes into the inbox, from when the service begins.
func (s *Server) subscribe(ctx context.Context) (subs []*nats.Subscription, err error) {
	if s.service.Begin != nil {
		select {
		case <-s.service.Begin:
		case <-ctx.Done():
			return nil, nil
		}
	}
	for pattern := range s.routes {
		sub, err := s.nc.ChanQueueSubscribe(pattern, s.service.Name, s.inbox)
		if err != nil {
			return subs, fmt.Errorf("subscribe %s: %w", pattern, err)
		}
		subs = append(subs, sub)
	}
	return subs, nil
}

// drain ends the subscriptions; what was on its way still arrives in the inbox.
func drain(subs []*nats.Subscription) {
	for _, sub := range subs {
		_ = sub.Drain() // fails where NATS went away: then nothing arrives
	}
	deadline := time.NewTimer(drainTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, sub := range subs {
		for sub.IsValid() {
			select {
			case <-tick.C:
			case <-deadline.C:
				return
			}
		}
	}
}

// finish waits until everything is answered and the answers are out. A route that answers much too late is not waited for: the
// goroutine that does ends with the route.
func (s *Server) finish(ctx context.Context, workers *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		workers.Wait()
		s.open.Wait()
		close(done)
	}()
	late := time.NewTimer(s.limits.Timeout + drainTimeout)
	defer late.Stop()
	var err error
	select {
	case <-done:
	case <-late.C:
		err = fmt.Errorf("client events of %d bytes have no answer yet", s.bytes.Load())
	}
	if !s.nc.IsConnected() {
		return err
	}
	if flushErr := s.nc.FlushTimeout(drainTimeout); flushErr != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "last answers not flushed", slog.Any("error", flushErr))
	}
	return err
}
