package intake

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/presence-service/internal/presence"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	snapshotsAtOnce = 4                       // requests in flight over all gateways
	snapshotTimeout = 5 * time.Second         // of a whole snapshot
	pageTimeout     = 1500 * time.Millisecond // from page to page
	pageQueue       = 1024                    // pages waiting to be read
	retryFirst      = 100 * time.Millisecond
	retryMost       = 3 * time.Second
)

// Snapshots asks gateways for everything, one request at a time per gateway, until the registry has what it needs.
type Snapshots struct {
	conn     *nats.Conn
	registry *presence.Registry
	log      *slog.Logger
	results  *prometheus.CounterVec
	slots    chan struct{}
	asked    chan presence.GatewayID // to Run

	mu       sync.Mutex // guards inflight
	inflight map[presence.GatewayID]bool
}

// NewSnapshots makes the asker and registers its metric.
func NewSnapshots(conn *nats.Conn, registry *presence.Registry, log *slog.Logger, metrics prometheus.Registerer) *Snapshots {
	s := &Snapshots{
		conn: conn, registry: registry, log: log,
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "starling_presence_snapshots_total", Help: "Snapshots asked of gateways, by result (ok, failed).",
		}, []string{"result"}),
		slots:    make(chan struct{}, snapshotsAtOnce),
		asked:    make(chan presence.GatewayID, intakeQueue),
		inflight: make(map[presence.GatewayID]bool),
	}
	metrics.MustRegister(s.results)
	for _, result := range []string{"ok", "failed"} { // from 0 on
		s.results.WithLabelValues(result)
	}
	return s
}

// Ask has a gateway's snapshot fetched, unless that is going on. It does not block; an ask that finds the queue full is
// dropped: the gateway's next lease asks again.
func (s *Snapshots) Ask(id presence.GatewayID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inflight[id] {
		return
	}
	select {
	case s.asked <- id:
		s.inflight[id] = true
	default:
	}
}

// Run fetches until ctx ends.
func (s *Snapshots) Run(ctx context.Context) error {
	var fetches sync.WaitGroup
	defer fetches.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case id := <-s.asked:
			fetches.Go(func() { s.fetch(ctx, id) })
		}
	}
}

// fetch asks until the registry has the snapshot, or has lost interest because the lease ended.
func (s *Snapshots) fetch(ctx context.Context, id presence.GatewayID) {
	failing := obs.Repeats{Log: s.log, Message: "snapshot failed"}
	for backoff := retryFirst; !s.done(id); backoff = min(2*backoff, retryMost) {
		select {
		case <-ctx.Done():
			return
		case s.slots <- struct{}{}:
		}
		snapshot, err := s.request(ctx, id)
		<-s.slots
		if err == nil {
			s.results.WithLabelValues("ok").Inc()
			if !s.registry.Restore(snapshot, time.Now()) {
				continue
			}
		} else if ctx.Err() == nil {
			s.results.WithLabelValues("failed").Inc()
			failing.Failed(ctx, err, slog.String("gateway_id", string(id)))
		}
		pause := time.NewTimer(backoff/2 + rand.N(backoff)) //nolint:gosec // jitter, not a secret
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// done takes a gateway out of inflight when its snapshot is there. It looks under the lock, so that an ask at the same moment is not lost.
func (s *Snapshots) done(id presence.GatewayID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.registry.Awaits(id) {
		return false
	}
	delete(s.inflight, id)
	return true
}

func (s *Snapshots) request(ctx context.Context, id presence.GatewayID) (presence.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	inbox := s.conn.NewInbox()
	pages := make(chan *nats.Msg, pageQueue)
	sub, err := s.conn.ChanSubscribe(inbox, pages)
	if err != nil {
		return presence.Snapshot{}, fmt.Errorf("subscribe to pages: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	ask, err := proto.Marshal(&eventv1.PresenceSnapshotRequest{})
	if err != nil {
		return presence.Snapshot{}, fmt.Errorf("encode snapshot request: %w", err)
	}
	if err := s.conn.PublishRequest(subject.PresenceSnapshot(string(id)), inbox, ask); err != nil {
		return presence.Snapshot{}, fmt.Errorf("ask for snapshot: %w", err)
	}
	assembly := presence.NewAssembly(id)
	silence := time.NewTimer(pageTimeout)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return presence.Snapshot{}, fmt.Errorf("await pages: %w", ctx.Err())
		case <-silence.C:
			return presence.Snapshot{}, fmt.Errorf("await pages: %w", nats.ErrTimeout)
		case m := <-pages:
			silence.Reset(pageTimeout)
			if snapshot, done, err := addPage(assembly, m); done || err != nil {
				return snapshot, err
			}
		}
	}
}

const (
	statusHeader = "Status"
	noResponders = "503"
)

func addPage(a *presence.Assembly, m *nats.Msg) (presence.Snapshot, bool, error) {
	if len(m.Data) == 0 && m.Header.Get(statusHeader) == noResponders {
		return presence.Snapshot{}, false, nats.ErrNoResponders
	}
	var p eventv1.PresenceSnapshot
	if err := proto.Unmarshal(m.Data, &p); err != nil {
		return presence.Snapshot{}, false, fmt.Errorf("decode page: %w", err)
	}
	return a.Add(presence.Page{
		Snapshot: presence.Snapshot{
			Gateway: presence.GatewayID(p.GetGatewayId()), Incarnation: p.GetIncarnation(),
			Version: p.GetVersion(), Sockets: sockets(p.GetSockets()),
		},
		Number: p.GetPage(), Pages: p.GetPages(),
	})
}
