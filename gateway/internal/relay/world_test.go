package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/inbox"
	"github.com/starling-chat/starling/gateway/internal/presence"
	"github.com/starling-chat/starling/gateway/internal/roomfeed"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/sessionstore"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/userlog"
	"github.com/starling-chat/starling/gateway/internal/watches"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
	"github.com/starling-chat/starling/proto/limits"
	"github.com/starling-chat/starling/proto/subject"
)

// issued is when all tokens of the test were issued.
var issued = time.UnixMilli(1_700_000_000_000)

// authService knows tokens of the form "<user>" and "<user>.<login>".
type authService struct {
	authv1.UnimplementedAuthServiceServer

	mu          sync.Mutex
	revocations []*eventv1.Revocation
	hold        chan struct{} // non-nil: Authenticate waits for it
	expires     time.Time
	generation  int64 // of every user, as far as it remembers
}

func (a *authService) Authenticate(ctx context.Context, r *authv1.AuthenticateRequest) (*authv1.AuthenticateResponse, error) {
	a.mu.Lock()
	hold, expires, generation := a.hold, a.expires, a.generation
	a.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	switch r.GetToken() {
	case "bad":
		return nil, fault.Refusal(fault.ReasonToken, nil)
	case "nobody":
		return nil, fault.Refusal(fault.ReasonNoUser, nil)
	case "of an older service": // which sends no reason
		return nil, fault.New(fault.Unauthenticated, "User not found")
	case "of a newer service": // which knows more reasons
		return nil, &fault.Error{Kind: fault.Unauthenticated, Reason: "too_early", Message: "Too early"}
	case "not a service": // this gateway is not believed
		return nil, fault.NotAService()
	case "away":
		return nil, fault.New(fault.Unavailable, "starting")
	}
	user, login, _ := strings.Cut(r.GetToken(), ".")
	id := &eventv1.Identity{UserId: user, Name: "Name of " + user, Role: "user", LoginId: login, IssuedAt: timestamppb.New(issued), Generation: generation}
	if r.GetConnecting() {
		id.NameVersion = 7
	} else {
		id.Name, id.Role = "another name", "admin"
	}
	if room, ok := strings.CutPrefix(login, "opens-"); ok {
		id.Rooms = []*eventv1.RoomGrant{{Match: room, Can: []string{"join"}}}
	}
	if !expires.IsZero() {
		id.ExpiresAt = timestamppb.New(expires)
	}
	return &authv1.AuthenticateResponse{Identity: id}, nil
}

func (a *authService) ListRevocations(_ context.Context, r *authv1.ListRevocationsRequest) (*authv1.ListRevocationsResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	res := &authv1.ListRevocationsResponse{NewestId: int64(len(a.revocations))}
	for _, rev := range a.revocations {
		if r.GetAfterId() >= 0 && rev.GetId() > r.GetAfterId() {
			res.Revocations = append(res.Revocations, rev)
		}
	}
	return res, nil
}

func (a *authService) revoke(rev *eventv1.Revocation) *eventv1.Revocation {
	a.mu.Lock()
	defer a.mu.Unlock()
	rev.Id = int64(len(a.revocations) + 1)
	a.revocations = append(a.revocations, rev)
	return rev
}

// chatService keeps room logs.
type chatService struct {
	chatv1.UnimplementedChatServiceServer

	mu     sync.Mutex
	rooms  map[string][]*eventv1.RoomEvent
	stored map[*eventv1.RoomEvent]time.Time
	reads  int
	// joining, where set, is asked before a join is granted.
	joining func(ctx context.Context, e *eventv1.ClientEvent) error
	// headsAsked, where set, is called before GetHeads answers.
	headsAsked atomic.Pointer[func()]
	// away has GetHeads fail.
	away atomic.Bool
}

// commit adds an event to a room's log.
func (c *chatService) commit(room string, more ...func(*eventv1.RoomEvent)) *eventv1.RoomEvent {
	c.mu.Lock()
	defer c.mu.Unlock()
	seq := uint64(len(c.rooms[room]) + 1)
	e := &eventv1.RoomEvent{RoomId: room, Seq: seq, Emit: &eventv1.Emit{Event: "e", Args: fmt.Appendf(nil, "[%d]", seq)}}
	for _, f := range more {
		f(e)
	}
	c.rooms[room] = append(c.rooms[room], e)
	if c.stored == nil {
		c.stored = map[*eventv1.RoomEvent]time.Time{}
	}
	c.stored[e] = time.Now()
	return e
}

func (c *chatService) JoinRoom(ctx context.Context, r *chatv1.JoinRoomRequest) (*chatv1.JoinRoomResponse, error) {
	c.mu.Lock()
	joining := c.joining
	c.mu.Unlock()
	if joining != nil {
		if err := joining(ctx, r.GetEvent()); err != nil {
			return nil, err
		}
	}
	var args []string
	if err := json.Unmarshal(r.GetEvent().GetArgs(), &args); err != nil || len(args) != 1 {
		return nil, fault.New(fault.Invalid, "roomId must be a string")
	}
	if args[0] == "broken" {
		return &chatv1.JoinRoomResponse{RoomId: args[0], AckArgs: []byte("{")}, nil
	}
	if strings.HasPrefix(args[0], "secret") {
		return nil, fault.New(fault.Forbidden, "not for you")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	head := uint64(len(c.rooms[args[0]]))
	return &chatv1.JoinRoomResponse{
		RoomId: args[0], Seq: head, AckArgs: fmt.Appendf(nil, `[{"ok":true,"seq":%d}]`, head),
		Emits: []*eventv1.Emit{{Event: "room:history", Args: fmt.Appendf(nil, "[%d]", head)}},
	}, nil
}

func (c *chatService) ReadRoomEvents(_ context.Context, r *chatv1.ReadRoomEventsRequest) (*chatv1.ReadRoomEventsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	res := &chatv1.ReadRoomEventsResponse{Head: uint64(len(c.rooms[r.GetRoomId()]))}
	after := r.GetStoredAfter()
	for _, e := range c.rooms[r.GetRoomId()] {
		if e.GetSeq() > r.GetAfterSeq() && (r.GetToSeq() == 0 || e.GetSeq() <= r.GetToSeq()) &&
			(after == nil || c.stored[e].After(after.AsTime())) {
			res.Events = append(res.Events, e)
		}
	}
	if r.GetAfterSeq() > res.GetHead() {
		res.Events = append(res.Events, &eventv1.RoomEvent{
			RoomId: r.GetRoomId(), Seq: res.GetHead(), Emit: &eventv1.Emit{Event: "e", Args: fmt.Appendf(nil, `["reset",%d]`, res.GetHead())},
		})
	}
	return res, nil
}

func (c *chatService) ListLogHeads(_ context.Context, r *chatv1.ListLogHeadsRequest) (*chatv1.ListLogHeadsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := &chatv1.ListLogHeadsResponse{Heads: map[string]uint64{}, Until: r.GetSince()}
	for room, events := range c.rooms {
		if user, ok := limits.UserOfLog(room); ok && len(events) > 0 && c.stored[events[len(events)-1]].After(r.GetSince().AsTime()) {
			res.Heads[user] = uint64(len(events))
		}
	}
	return res, nil
}

func (c *chatService) GetHeads(_ context.Context, r *chatv1.GetHeadsRequest) (*chatv1.GetHeadsResponse, error) {
	if asked := c.headsAsked.Load(); asked != nil {
		(*asked)()
	}
	if c.away.Load() {
		return nil, fault.New(fault.Unavailable, "starting")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	res := &chatv1.GetHeadsResponse{Heads: map[string]uint64{}}
	for _, id := range r.GetRoomIds() { // in those that begin so everybody is a member by a token
		opened := slices.ContainsFunc(r.GetGrants(), func(g *eventv1.RoomGrant) bool { return g.GetMatch() == id })
		if strings.HasPrefix(id, "by-token") && r.GetForUserId() != "" && !opened {
			res.ClosedRoomIds = append(res.ClosedRoomIds, id)
		}
	}
	for _, id := range r.GetRoomIds() { // nobody comes again who was taken out
		if slices.ContainsFunc(c.rooms[id], func(e *eventv1.RoomEvent) bool {
			return r.GetForUserId() != "" && e.GetEvictUserId() == r.GetForUserId()
		}) {
			res.LeftRoomIds = append(res.LeftRoomIds, id)
		}
	}
	for _, id := range r.GetRoomIds() {
		evicted := slices.ContainsFunc(c.rooms[id], func(e *eventv1.RoomEvent) bool {
			return r.GetAsUserId() != "" && e.GetEvictUserId() == r.GetAsUserId()
		})
		if n := len(c.rooms[id]); !evicted && (n > 0 || r.GetAsUserId() != "") {
			res.Heads[id] = uint64(n)
		}
	}
	return res, nil
}

// world is a gateway's relay with real NATS, sessions in memory and services of the test.
type world struct {
	relay    *Relay
	sessions *session.Server
	service  *nats.Conn // of a service
	auth     *authService
	chat     *chatService
	log      faulttest.Log
	stop     func()
}

// app is the relay as sessions see it. Acks are not the relay's: it asks for none.
type app struct{ *Relay }

func (app) Ack(*session.Socket, int64, []byte, [][]byte) {}

// settings are those of the relay and of what it stands on.
type settings struct {
	Config
	incarnation int64
	feed        roomfeed.Config
	store       sessionstore.Config // without the gateway
}

func testConfig() settings {
	return settings{
		Config: Config{
			GatewayID: "g1", MaxRooms: 3, MaxHandshakes: 10, AuthTimeout: sessiontest.Patience, HoldConnect: 2 * sessiontest.Patience, Services: []string{"chat-service"},
			Events: EventLimits{
				Burst: 100, MaxBytes: 1000, MaxQueued: 4, MaxInFlight: 1000, MaxWaiting: 1 << 20, Timeout: sessiontest.Patience, Stall: time.Hour,
			},
		},
		incarnation: 7,
		feed:        roomfeed.Config{Linger: 100 * time.Millisecond, GapWait: 10 * time.Millisecond, HeadInterval: time.Hour},
	}
}

func newWorld(t *testing.T, change func(*settings)) *world {
	t.Helper()
	cfg := testConfig()
	if change != nil {
		change(&cfg)
	}
	w := &world{auth: &authService{}, chat: &chatService{rooms: map[string][]*eventv1.RoomEvent{}}}
	listener := bufconn.Listen(1 << 16)
	server := rpc.NewServer(rpc.ServerConfig{Listener: listener})
	authv1.RegisterAuthServiceServer(server.GRPC(), w.auth)
	chatv1.RegisterChatServiceServer(server.GRPC(), w.chat)
	presencev1.RegisterPresenceServiceServer(server.GRPC(), presenceService{})
	conn, err := rpc.Dial("services", rpc.ClientConfig{Dialer: listener.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	broker := bustest.Server(t)
	nc := bustest.Connect(t, broker)
	w.service = bustest.Connect(t, broker)
	st := sessiontest.Stats()
	w.relay = newRelay(cfg, nc, conn, st, w.log.Logger())
	w.sessions = sessiontest.Server(t, app{w.relay}, sessiontest.Config(), st)

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	relayCtx, cancelRelay := context.WithCancel(context.Background())
	relayEnded := make(chan struct{})
	go func() { defer close(relayEnded); _ = w.relay.Run(relayCtx) }()
	w.stop = sync.OnceFunc(func() {
		cancelRelay()
		select {
		case <-relayEnded:
		case <-time.After(2 * sessiontest.Patience):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(func() {
		w.stop()
		_ = conn.Close()
		cancel()
		running.Wait()
	})
	// The relay's subscriptions are there when it answers.
	sessiontest.Eventually(t, func() bool {
		_, err := w.service.Request(subject.PresenceSnapshot(cfg.GatewayID), nil, time.Second)
		return err == nil
	}, func() string { return "the relay does not answer" })
	return w
}

func newRelay(cfg settings, nc *nats.Conn, conn *grpc.ClientConn, st *stats.Stats, log *slog.Logger) *Relay {
	chat := chatv1.NewChatServiceClient(conn)
	h, registry := hub.New(2, st, log), hub.NewRegistry()
	feed := roomfeed.New(cfg.feed, roomfeed.Deps{Bus: nc, Source: roomfeed.NewSource(nc, chat), Hub: h, Stats: st, Log: log})
	cfg.store.GatewayID, cfg.store.Incarnation = cfg.GatewayID, cfg.incarnation
	r := New(context.Background(), cfg.Config, Deps{
		Bus: nc, Auth: authv1.NewAuthServiceClient(conn), Chat: chat, Hub: h, Registry: registry, Feed: feed,
		Logs: userlog.New(userlog.Deps{
			Chat: chat, Hub: h, Registry: registry, Repair: feed.Repair, Stats: st, Log: log, Interval: cfg.feed.HeadInterval,
		}),
		Inbox: inbox.New(inbox.Config{Rooms: 200, Most: 1000}, chat, registry, nc, st, log),
		Presence: presence.New(presence.Config{
			GatewayID: cfg.GatewayID, Incarnation: cfg.incarnation, LeaseInterval: time.Hour,
		}, nc, log),
		Watches: watches.New(watches.Config{Most: 1000}, presencev1.NewPresenceServiceClient(conn), nc, st, log),
		Store:   sessionstore.New(cfg.store, nc, st, log), Stats: st, Log: log,
	})
	r.rooms = &countedRooms{rooms: r.rooms, refs: make(map[string]int)}
	return r
}

// connect has a client of a user come in on "/"; its packets so far are forgotten.
func (w *world) connect(t *testing.T, token string) *sessiontest.Conn {
	t.Helper()
	c, _ := sessiontest.Open(w.sessions, session.Headers{})
	c.Say(`40{"token":"` + token + `"}`)
	c.WaitFor(t, "40{")
	sessiontest.Eventually(t, func() bool { // and is registered
		for _, s := range w.relay.registry.User(strings.Split(token, ".")[0]) {
			if s.Conn() == c {
				return true
			}
		}
		return false
	}, func() string { return "not registered" })
	c.Forget()
	return c
}

// enter has a client come in without waiting for anything behind its CONNECT.
func (w *world) enter(t *testing.T, token string) (*sessiontest.Conn, *session.Session) {
	t.Helper()
	c, s := sessiontest.Open(w.sessions, session.Headers{})
	c.Say(`40{"token":"` + token + `"}`)
	c.WaitFor(t, "40{")
	return c, s
}

// refuses has a client connect with a token that is not good any more.
func (w *world) refuses(t *testing.T, token string) {
	t.Helper()
	c, _ := sessiontest.Open(w.sessions, session.Headers{})
	c.Say(`40{"token":"` + token + `"}`)
	if got := c.WaitFor(t, "44"); !strings.Contains(got, "invalid_token") {
		t.Errorf("CONNECT with %s is answered by %s, want a refusal of the token", token, got)
	}
}

// join has a client enter a room.
func (w *world) join(t *testing.T, c *sessiontest.Conn, room string) {
	t.Helper()
	c.Say(`421["room:join","` + room + `"]`)
	c.WaitFor(t, "431")
	c.Forget()
}

// socket gives the socket of a client.
func (w *world) socket(t *testing.T, user string, c *sessiontest.Conn) *session.Socket {
	t.Helper()
	for _, s := range w.relay.registry.User(user) {
		if s.Conn() == c {
			return s
		}
	}
	t.Fatal("no such socket")
	return nil
}

// publish sends a room event on the live subject.
func (w *world) publish(t *testing.T, e *eventv1.RoomEvent) {
	t.Helper()
	w.send(t, subject.Room(e.GetRoomId()), &eventv1.RoomEventBatch{Events: []*eventv1.RoomEvent{e}})
}

func (w *world) send(t *testing.T, subj string, m proto.Message) {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.service.Publish(subj, raw); err != nil {
		t.Fatal(err)
	}
}

// respond answers an event of "/" with what reply gives, nil for no answer.
func (w *world) respond(t *testing.T, event string, reply func(*eventv1.ClientEvent) *eventv1.ClientReply) {
	t.Helper()
	subj, err := subject.ClientEvent("/", event)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.service.Subscribe(subj, func(msg *nats.Msg) {
		var e eventv1.ClientEvent
		if err := proto.Unmarshal(msg.Data, &e); err != nil {
			t.Error(err)
			return
		}
		answer := func(r *eventv1.ClientReply) {
			raw, _ := proto.Marshal(r)
			_ = msg.Respond(raw)
		}
		if r := reply(&e); r != nil {
			answer(r)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.service.Flush(); err != nil {
		t.Fatal(err)
	}
}

// announce has a service tell its events.
func (w *world) announce(t *testing.T, service string, patterns ...string) {
	t.Helper()
	w.announceAll(t, &eventv1.Catalog{Service: service, Patterns: patterns})
}

func (w *world) announceAll(t *testing.T, catalog *eventv1.Catalog) {
	t.Helper()
	w.send(t, subject.CatalogAnnounce, catalog)
	// The relay handles one after the other: when it answers, it has taken in the catalog.
	if _, err := w.service.Request(subject.PresenceSnapshot("g1"), nil, sessiontest.Patience); err != nil {
		t.Fatal(err)
	}
}

// countedRooms counts how often each room is needed.
type countedRooms struct {
	rooms

	mu   sync.Mutex // guards refs
	refs map[string]int
}

func (c *countedRooms) Acquire(ctx context.Context, room string) error {
	err := c.rooms.Acquire(ctx, room)
	if err == nil {
		c.add(room, 1)
	}
	return err
}

func (c *countedRooms) Release(room string) { c.add(room, -1); c.rooms.Release(room) }

func (c *countedRooms) Discard(room string) { c.add(room, -1); c.rooms.Discard(room) }

func (c *countedRooms) add(room string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refs[room] += n
}

func (c *countedRooms) of(room string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refs[room]
}

func (w *world) wantRefs(t *testing.T, room string, want int) {
	t.Helper()
	wantRefs(t, w.relay, room, want)
}

func wantRefs(t *testing.T, r *Relay, room string, want int) {
	t.Helper()
	counted := r.rooms.(*countedRooms)
	sessiontest.Eventually(t, func() bool { return counted.of(room) == want }, func() string {
		return fmt.Sprintf("room %s is needed %d times, want %d", room, counted.of(room), want)
	})
}

// ok is a service's plain consent.
func ok(*eventv1.ClientEvent) *eventv1.ClientReply {
	return &eventv1.ClientReply{AckArgs: []byte(`[{"ok":true}]`)}
}
