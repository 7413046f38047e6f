package relay

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/peers"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/sessionstore"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// fleet is several gateways over one NATS, with the services of the test.
type fleet struct {
	t        *testing.T
	cfg      settings
	broker   *embedded.Server
	services *grpc.ClientConn
	service  *nats.Conn
	auth     *authService
	chat     *chatService
}

// fleetGateway is one of them.
type fleetGateway struct {
	*fleet
	id       string
	nc       *nats.Conn
	relay    *Relay
	cfg      settings
	sessions *session.Server
	sockets  *transport.Server
}

func newFleet(t *testing.T, change func(*settings)) *fleet {
	t.Helper()
	cfg := testConfig()
	cfg.MaxRooms = 10
	cfg.store, cfg.Recovery.MaxEvents = sessionstore.Config{Window: time.Minute, Replicas: 1, Bytes: 16 << 20}, 1000
	if change != nil {
		change(&cfg)
	}
	f := &fleet{
		t: t, cfg: cfg, broker: bustest.Server(t),
		auth: &authService{}, chat: &chatService{rooms: map[string][]*eventv1.RoomEvent{}},
	}
	f.service = bustest.Connect(t, f.broker)
	listener := bufconn.Listen(1 << 16)
	server := rpc.NewServer(rpc.ServerConfig{Listener: listener})
	authv1.RegisterAuthServiceServer(server.GRPC(), f.auth)
	chatv1.RegisterChatServiceServer(server.GRPC(), f.chat)
	conn, err := rpc.Dial("services", rpc.ClientConfig{Dialer: listener.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	f.services = conn
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		running.Wait()
	})
	return f
}

// start starts a gateway.
func (f *fleet) start(id string) *fleetGateway {
	f.t.Helper()
	log := slog.New(slog.DiscardHandler)
	cfg := f.cfg
	cfg.GatewayID, cfg.incarnation = id, time.Now().UnixNano()
	g := &fleetGateway{fleet: f, id: id, cfg: cfg, nc: bustest.Connect(f.t, f.broker)}
	st := sessiontest.Stats()
	g.relay = newRelay(cfg, g.nc, f.services, st, slog.New(slog.DiscardHandler))
	g.sessions = sessiontest.Server(f.t, app{g.relay}, sessiontest.Config(), st)
	g.sockets = transport.NewServer(transport.Limits{
		MaxMessage: 100_000, SendQueue: 256 << 10, FrameTimeout: time.Minute, CloseTimeout: time.Second,
	}, log)
	f.t.Cleanup(g.sockets.Wait)
	others := peers.New(peers.Config{Gateway: id, Takeover: g.relay.Takeover, Resumed: g.relay.Resumed}, g.nc, g.sessions, log)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var parts run.Group
	parts.Go("relay", g.relay.Run)
	parts.Go("peers", others.Run)
	go func() { defer close(done); _ = parts.Run(ctx) }()
	f.t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(2 * sessiontest.Patience):
			f.t.Error("Run does not end")
		}
	})
	sessiontest.Eventually(f.t, func() bool {
		_, err := f.service.Request(subject.PresenceSnapshot(id), nil, time.Second)
		return err == nil && bustest.HasSubscriber(f.t, f.service, subject.Engine(id)) && (g.hasBucket() || cfg.store.Window == 0)
	}, func() string { return "the gateway does not answer, or has no bucket" })
	g.stored()
	return g
}

// hasBucket tells whether the gateway has its bucket: it finds nothing in it.
func (g *fleetGateway) hasBucket() bool {
	_, err := g.relay.store.Load(g.t.Context(), "nobody", nil, nil)
	return errors.Is(err, jetstream.ErrKeyNotFound)
}

// stored returns when everything that the gateway published is stored: the last on its connection is.
func (g *fleetGateway) stored() {
	g.t.Helper()
	js, err := jetstream.New(g.nc)
	if err != nil {
		g.t.Fatal(err)
	}
	kv, err := js.KeyValue(g.t.Context(), subject.SessionsBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return // recovery is off
	}
	if err == nil {
		_, err = kv.Put(g.t.Context(), "stored", nil)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// kill takes the gateway off the bus at once, as kill -9 would: it says nothing any more.
func (g *fleetGateway) kill() {
	g.t.Helper()
	g.nc.Close()
	sessiontest.Eventually(g.t, func() bool {
		return !bustest.HasSubscriber(g.t, g.service, subject.Engine(g.id))
	}, func() string { return "the bus still knows the gateway" })
}

// commit adds an event to a room's log: e with the room and its sequence.
func (f *fleet) commit(room string, more ...func(*eventv1.RoomEvent)) *eventv1.RoomEvent {
	return f.chat.commit(room, append([]func(*eventv1.RoomEvent){func(e *eventv1.RoomEvent) {
		e.Emit.Args = fmt.Appendf(nil, `["%s",%d]`, room, e.GetSeq())
	}}, more...)...)
}

// publish commits an event and sends it out.
func (f *fleet) publish(room string, more ...func(*eventv1.RoomEvent)) {
	f.t.Helper()
	e := f.commit(room, more...)
	raw, err := proto.Marshal(&eventv1.RoomEventBatch{Events: []*eventv1.RoomEvent{e}})
	if err == nil {
		err = f.service.Publish(subject.Room(room), raw)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// guest is a client that comes back.
type guest struct {
	*sessiontest.Conn
	t       *testing.T
	token   string
	gateway *fleetGateway
	sid     string // of the socket
	pid     string
	offset  string
	before  []string // packets before the CONNECT reply, without offsets
}

// comes has a guest connect; a guest that was there before says what it knows.
func (u *guest) comes(g *fleetGateway) *guest {
	u.t.Helper()
	auth := map[string]string{"token": u.token}
	if u.pid != "" {
		auth["pid"] = u.pid
		if u.offset != "" {
			auth["offset"] = u.offset
		}
	}
	return u.says(g, auth)
}

func (u *guest) says(g *fleetGateway, auth any) *guest {
	u.t.Helper()
	raw, _ := json.Marshal(auth)
	next := &guest{t: u.t, token: u.token, offset: u.offset, gateway: g}
	next.Conn, _ = sessiontest.Open(g.sessions, session.Headers{})
	next.Forget()
	next.Say("40" + string(raw))
	reply := next.WaitFor(u.t, "40{")
	var detail struct{ SID, PID string }
	if err := json.Unmarshal([]byte(reply[2:]), &detail); err != nil || detail.SID == "" {
		u.t.Fatalf("CONNECT reply %s: %v", reply, err)
	}
	next.sid, next.pid = detail.SID, detail.PID
	packets := next.Packets()
	for _, p := range packets[:slices.Index(packets, reply)] {
		next.before = append(next.before, next.seen(p))
	}
	return next
}

// seen takes the offset of an event as a client would: the last argument, when it is a string.
func (u *guest) seen(packet string) string {
	if i := strings.LastIndex(packet, `,"o1.`); strings.HasPrefix(packet, "42") && i >= 0 {
		u.offset = strings.TrimSuffix(packet[i+2:], `"]`)
		return packet[:i] + "]"
	}
	return packet
}

// got are all events so far, without offsets.
func (u *guest) got() (events []string) {
	for _, p := range u.Packets() {
		if p = u.seen(p); strings.HasPrefix(p, `42["e"`) {
			events = append(events, p)
		}
	}
	return events
}

// wantEvents waits until the guest has got exactly these events of a room since it connected.
func (u *guest) wantEvents(room string, seqs ...int) {
	u.t.Helper()
	var want []string
	for _, seq := range seqs {
		want = append(want, fmt.Sprintf(`42["e","%s",%d]`, room, seq))
	}
	sessiontest.Eventually(u.t, func() bool { return slices.Equal(u.got(), want) }, func() string {
		_, reason, ended := u.Ended()
		return fmt.Sprintf("client got %q, want %q; its conn has ended: %v %s", u.got(), want, ended, reason)
	})
}

func (u *guest) wantRecovered(from *guest, yes bool) {
	u.t.Helper()
	if got := u.sid == from.sid; got != (u.pid == from.pid) || got != yes {
		u.t.Errorf("socket %s, pid %s came back as %s, %s: want recovered: %v", from.sid, from.pid, u.sid, u.pid, yes)
	}
}

func (f *fleet) guest(token string, g *fleetGateway) *guest {
	f.t.Helper()
	return (&guest{t: f.t, token: token}).comes(g)
}

// joins enters a room.
func (u *guest) joins(room string) {
	u.t.Helper()
	u.Say(`421["room:join","` + room + `"]`)
	sessiontest.Eventually(u.t, func() bool {
		return slices.ContainsFunc(u.Packets(), func(p string) bool { return strings.HasPrefix(p, "431") })
	}, func() string { return fmt.Sprintf("no ack of the join: %q", u.Queued()) })
	u.got()
	u.Forget()
}

// drops has the guest's connection break; its gateway notices.
func (u *guest) drops() {
	u.t.Helper()
	u.got()
	u.Close(transport.CodeNormal, transport.ReasonLost)
	u.WaitEnded(u.t)
	u.gateway.stored()
}

// offsetOf is the offset of a socket that saw a room up to a sequence.
func offsetOf(pid string, index uint32, seq uint64) string {
	var raw []byte
	for _, n := range []uint64{0, session.OffsetEpoch(pid), uint64(index), seq} {
		raw = binary.AppendUvarint(raw, n)
	}
	return "o1." + base64.RawURLEncoding.EncodeToString(raw)
}

// bucket is where the gateways keep the states of sockets.
func (f *fleet) bucket() jetstream.KeyValue {
	f.t.Helper()
	js, err := jetstream.New(f.service)
	if err != nil {
		f.t.Fatal(err)
	}
	kv, err := js.KeyValue(f.t.Context(), subject.SessionsBucket)
	if err != nil {
		f.t.Fatal(err)
	}
	return kv
}

func state(f *fleet, a *guest) *enginev1.SessionState {
	f.t.Helper()
	entry, err := f.bucket().Get(f.t.Context(), subject.SessionState(a.pid))
	if err != nil {
		f.t.Fatal(err)
	}
	var st enginev1.SessionState
	if err := proto.Unmarshal(entry.Value(), &st); err != nil {
		f.t.Fatal(err)
	}
	return &st
}

func respondTo(t *testing.T, f *fleet, event string) {
	t.Helper()
	(&world{service: f.service}).respond(t, event, ok)
}
