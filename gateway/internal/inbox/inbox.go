package inbox

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/namespaces"
	"github.com/starling-chat/starling/proto/subject"
)

// Config says how much there may be.
type Config struct {
	Rooms int // of one socket; 0 = no socket has an inbox
	Most  int // rooms of all sockets
}

// Service is the part of chat-service that inboxes need.
type Service interface {
	ListInbox(ctx context.Context, r *chatv1.ListInboxRequest, opts ...grpc.CallOption) (*chatv1.ListInboxResponse, error)
	GetHeads(ctx context.Context, r *chatv1.GetHeadsRequest, opts ...grpc.CallOption) (*chatv1.GetHeadsResponse, error)
}

// Client is what the relay keeps for a socket. Its methods are called with a lock held, and must not call the Inbox.
type Client interface {
	// InRoom tells whether a room is on the socket's list.
	InRoom(roomID string) bool
	// Opens is what the token of the socket opens.
	Opens() []*eventv1.RoomGrant
	// Gone tells whether the socket has ended.
	Gone() bool
}

// Inbox is the inboxes of one gateway.
type Inbox struct {
	// Fixed at birth.
	cfg      Config
	service  Service
	registry *hub.Registry
	nc       *nats.Conn
	stats    *stats.Stats
	heard    chan *nats.Msg // activity of the shards that are subscribed to
	failing  obs.Repeats

	open   atomic.Int64 // sockets with an inbox, or about to have one
	wanted atomic.Int64 // when chat-service was told last that there are such, in Unix milliseconds

	mu      sync.Mutex // guards what follows, and all that it leads to
	lost    bool       // the bus is away
	sockets map[*session.Socket]*member
	rooms   map[string]*room
	shards  [subject.RoomShards]shard
	links   int            // rooms of all sockets
	waiting map[*room]bool // rooms with an activity that is not told yet
	rest    time.Time      // until then nothing is asked: chat-service is away
	due     []*member      // to be asked for, in the order of their turn
}

// shard is the interest in one of the shards of rooms.
type shard struct {
	rooms int
	sub   *nats.Subscription
}

// member is a socket with an inbox.
type member struct {
	// Fixed at birth.
	socket *session.Socket
	client Client

	// Guarded by Inbox.mu.
	rooms  []*room
	at     time.Time // its turn
	epoch  uint32    // grows with everything that makes what is being asked for old
	told   bool      // it has got inbox:state, and nothing was missed since
	queued bool      // it is to be asked for, or being
	again  bool      // and then once more
	ended  bool
}

// heardBuffer is how many messages with activity may wait; what does not fit is mended by the next activity of the room.
const heardBuffer = 1024

// New makes the inboxes of a gateway; Run fills them.
func New(cfg Config, service Service, registry *hub.Registry, nc *nats.Conn, st *stats.Stats, log *slog.Logger) *Inbox {
	return &Inbox{
		cfg: cfg, service: service, registry: registry, nc: nc, stats: st, heard: make(chan *nats.Msg, heardBuffer),
		failing: obs.Repeats{Log: log, Message: "inbox not read"},
		sockets: map[*session.Socket]*member{}, rooms: map[string]*room{}, waiting: map[*room]bool{},
	}
}

// Run fills inboxes and tells what becomes of their rooms, until ctx ends.
func (b *Inbox) Run(ctx context.Context) error {
	var g run.Group
	g.Go("inboxes", b.work)
	g.Go("activity of rooms", b.deliver)
	g.Go("who has an inbox", func(ctx context.Context) error { return run.Every(ctx, wantEvery, b.want) })
	return g.Run(ctx)
}

// Open gives a socket that is registered an inbox.
func (b *Inbox) Open(s *session.Socket, c Client) {
	if b.cfg.Rooms == 0 || s.Namespace != namespaces.Main {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open.Add(1) // before Gone is asked: see Close
	if c.Gone() || b.sockets[s] != nil {
		b.open.Add(-1)
		return
	}
	m := &member{socket: s, client: c}
	b.sockets[s] = m
	b.stats.Inboxes.Set(float64(len(b.sockets)))
	b.ask(m)
}

// Close ends the inbox of a socket that has ended. Of one that has none it costs a comparison.
func (b *Inbox) Close(s *session.Socket) {
	if b.open.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.sockets[s]; m != nil {
		b.end(m)
	}
}

// Renew fills the inbox of a socket anew: its token is another one.
func (b *Inbox) Renew(s *session.Socket) {
	if b.open.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.sockets[s]; m != nil {
		m.told = false
		b.ask(m)
	}
}

// Missed has the inboxes of a user filled anew: its log has grown without being heard.
func (b *Inbox) Missed(userID string) {
	if b.open.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.of(userID) {
		b.ask(m)
	}
}

// The events of a user's log after which its rooms are others.
const (
	roomAdded   = "me:room-added"
	roomRemoved = "me:room-removed"
)

// Heard is to be called with the events of a user's log, as soon as they are here.
func (b *Inbox) Heard(userID string, events []*eventv1.RoomEvent) {
	if b.open.Load() == 0 {
		return
	}
	var removed []string
	change := false
	for _, e := range events {
		switch e.GetEmit().GetEvent() {
		case roomAdded:
			change = true
		case roomRemoved:
			change = true
			if id := roomOf(e.GetEmit().GetArgs()); id != "" {
				removed = append(removed, id)
			}
		}
	}
	if !change {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.of(userID) {
		for _, id := range removed {
			b.drop(m, id)
		}
		b.ask(m)
	}
}

// Evict ends the interest of users in a room: they are no members any more. When it returns they get nothing more of it.
func (b *Inbox) Evict(roomID string, userIDs []string) {
	if b.open.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, userID := range userIDs {
		for _, m := range b.of(userID) {
			b.drop(m, roomID)
			if m.queued { // what is being asked for may have the room
				b.ask(m)
			}
		}
	}
}

// Lost is to be called when the bus is away: from then on nothing is told.
func (b *Inbox) Lost() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = true
	for _, m := range b.sockets {
		m.told = false
		m.epoch++
	}
}

// Resync is to be called when the bus is back: all inboxes are filled anew, and their sockets get inbox:state again.
func (b *Inbox) Resync() {
	b.want(time.Now())
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = false
	for _, m := range b.sockets {
		m.told = false
		b.ask(m)
	}
}

// wantEvery is how often chat-service is told that there are inboxes here.
const wantEvery = 3 * time.Second

// want tells chat-service that there are inboxes here, if there are.
func (b *Inbox) want(now time.Time) {
	if b.open.Load() > 0 && b.nc.Publish(subject.InboxWanted, nil) == nil { // without the bus nothing is told either
		b.wanted.Store(now.UnixMilli())
	}
}
