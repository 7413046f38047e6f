package relay

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/gateway/internal/authentication"
	"github.com/starling-chat/starling/gateway/internal/calls"
	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/inbox"
	"github.com/starling-chat/starling/gateway/internal/presence"
	"github.com/starling-chat/starling/gateway/internal/quota"
	"github.com/starling-chat/starling/gateway/internal/replay"
	"github.com/starling-chat/starling/gateway/internal/revocations"
	"github.com/starling-chat/starling/gateway/internal/roomfeed"
	"github.com/starling-chat/starling/gateway/internal/services"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/sessionstore"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/throttle"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/gateway/internal/userlog"
	"github.com/starling-chat/starling/gateway/internal/watches"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/stall"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// Deps are what the relay stands on. It runs Feed, Logs, Inbox, Presence, Watches and Store; the others run themselves, or need not run.
type Deps struct {
	Bus      *nats.Conn
	Auth     authv1.AuthServiceClient
	Chat     chatv1.ChatServiceClient
	Hub      *hub.Hub
	Registry *hub.Registry
	Feed     *roomfeed.Feed
	Presence *presence.Presence
	Watches  *watches.Watches
	Store    *sessionstore.Store
	Logs     *userlog.Logs
	Inbox    *inbox.Inbox
	Stats    *stats.Stats
	Log      *slog.Logger
}

// rooms are the rooms whose events reach this gateway.
type rooms interface {
	// Acquire returns when a room's events reach this gateway; each success needs one Release or Discard.
	Acquire(ctx context.Context, roomID string) error
	Release(roomID string)
	Discard(roomID string)
}

// Relay serves sessions with what the services say.
type Relay struct {
	// What it stands on, fixed at birth.
	cfg      Config
	nc       *nats.Conn
	auth     authv1.AuthServiceClient
	chat     chatv1.ChatServiceClient
	hub      *hub.Hub
	registry *hub.Registry
	feed     *roomfeed.Feed
	rooms    rooms // of feed
	presence *presence.Presence
	watches  *watches.Watches
	store    *sessionstore.Store
	logs     *userlog.Logs
	inbox    *inbox.Inbox
	replay   replay.Replay
	stats    *stats.Stats
	log      *slog.Logger

	// Its own parts, which guard themselves.
	calls          *calls.Calls
	throttle       *throttle.Throttle[*request]
	unread         *unread
	stalls         *stall.Watch
	revocations    *revocations.Revocations
	catalog        *services.Catalog
	holders        *sessionstore.Holders[client]
	users          *quota.Users
	authentication *authentication.Authentication // of CONNECTs

	waiting atomic.Int64    // bytes of the client events that clients have queued or in flight
	tasks   sync.WaitGroup  // goroutines of CONNECTs and joins
	ctx     context.Context //nolint:containedctx // the life of CONNECTs and joins, which sessions start
	stop    context.CancelFunc
}

// New makes a relay; Run brings it to life. ctx bounds everything that sessions start.
func New(ctx context.Context, cfg Config, deps Deps) *Relay {
	r := &Relay{
		cfg: cfg, nc: deps.Bus, auth: deps.Auth, chat: deps.Chat, hub: deps.Hub, registry: deps.Registry,
		feed: deps.Feed, rooms: deps.Feed, presence: deps.Presence, watches: deps.Watches, store: deps.Store, stats: deps.Stats, log: deps.Log,
		logs: deps.Logs, inbox: deps.Inbox, replay: replay.Replay{Chat: deps.Chat, Stats: deps.Stats},
		stalls: stall.New(cfg.Events.Stall), catalog: services.NewCatalog(cfg.Services), holders: sessionstore.NewHolders(func(c *client) string { return c.pid }),
		users: quota.New(cfg.Users),
	}
	r.ctx, r.stop = context.WithCancel(ctx)
	r.calls = calls.New(calls.Config{MaxInFlight: cfg.Events.MaxInFlight, Timeout: cfg.Events.Timeout}, r.nc, r.catalog, r.stats, r.log)
	r.throttle = throttle.New[*request](r.hub.Shards())
	r.unread = newUnread(cfg.Recovery.PongWithin)
	r.revocations = revocations.New(revocations.Config{
		Gateway: cfg.GatewayID, Auth: r.auth, Timeout: cfg.AuthTimeout, Registry: r.registry, Log: r.log,
	})
	r.authentication = authentication.New(authentication.Config{
		Most: cfg.MaxHandshakes, Timeout: cfg.AuthTimeout, Hold: cfg.HoldConnect, Revoked: r.revocations.Lately,
	}, deps.Auth, deps.Stats, deps.Log)
	return r
}

// Run carries events until ctx ends. Sessions are drained before.
func (r *Relay) Run(ctx context.Context) error {
	subs, err := r.subscribe()
	if err != nil {
		return err
	}
	r.askCatalog()
	var g run.Group
	g.Go("room events", func(ctx context.Context) error {
		return r.feed.Run(ctx, roomfeed.Listener{Evicted: r.evicted, Out: r.inbox.Evict, Log: r.logHeard, Lag: r.throttle.Report})
	})
	g.Go("logs of users", r.logs.Run)
	g.Go("inbox", r.inbox.Run)
	g.Go("control events", func(ctx context.Context) error { return pump(ctx, subs.control, r.control) })
	g.Go("replies", r.calls.Run)
	g.Go("throttle", func(ctx context.Context) error { return run.Every(ctx, throttle.Tick, r.release) })
	g.Go("stalls", r.stalls.Run)
	g.Go("revocations", r.revocations.Run)
	g.Go("token expiry", r.closeExpired)
	g.Go("presence", r.presence.Run)
	g.Go("watches", r.watches.Run)
	g.Go("session store", r.store.Run)
	g.Go("session states", r.keepStates)
	err = g.Run(ctx)
	r.stop()
	r.tasks.Wait()
	for _, sub := range subs.all {
		_ = sub.Unsubscribe() // the connection is closed next
	}
	return err
}

type subscriptions struct {
	all     []*nats.Subscription
	control chan *nats.Msg
}

// controlBuffer is how many broadcasts, user events, revocations and presence lists may wait.
const controlBuffer = 8192

func (r *Relay) subscribe() (subscriptions, error) {
	subs := subscriptions{control: make(chan *nats.Msg, controlBuffer)}
	add := func(subj string, ch chan *nats.Msg) error {
		sub, err := r.nc.ChanSubscribe(subj, ch)
		if err != nil {
			return fmt.Errorf("subscribe %s: %w", subj, err)
		}
		subs.all = append(subs.all, sub)
		return nil
	}
	for _, subj := range []string{
		subject.AllBroadcasts, subject.AllUsers, subject.Revoked, subject.PresenceOnline, subject.CatalogAnnounce,
		subject.PresenceSnapshot(r.cfg.GatewayID),
	} {
		if err := add(subj, subs.control); err != nil {
			return subs, err
		}
	}
	sub, err := r.calls.Subscribe()
	if err != nil {
		return subs, fmt.Errorf("subscribe replies: %w", err)
	}
	subs.all = append(subs.all, sub)
	return subs, nil
}

// Resync is to be called when the bus is connected again: what was missed meanwhile is asked for.
func (r *Relay) Resync() {
	r.feed.Resync()
	r.logs.Resync()
	r.inbox.Resync()
	r.revocations.CatchUp()
	r.presence.Announce()
	r.askCatalog()
}

// evicted has a socket leave a room that an event took it out of. The hub is last: until then the socket cannot join again.
func (r *Relay) evicted(s *session.Socket, roomID string) {
	if c, ok := s.State.(*client); ok && c.forgetRoom(roomID) {
		r.rooms.Release(roomID)
		r.save(c)
	}
	r.hub.LeaveEvicted(s, roomID)
}

// Resumed gives the end of the last stall of this process, zero when there was none.
func (r *Relay) Resumed(now time.Time) time.Time { return r.stalls.Resumed(now) }

// closeExpired ends sessions whose token ended: the transport, not the namespace, so that an official client comes back by itself,
// with a fresh token if its auth option is a function.
func (r *Relay) closeExpired(ctx context.Context) error {
	return run.Every(ctx, time.Second, func(now time.Time) {
		r.registry.Each(func(s *session.Socket) {
			if c, ok := s.State.(*client); ok && c.look(now) {
				s.Close(transport.CodePolicy, transport.ReasonExpired)
			}
		})
	})
}
