package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/namespaces"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	testLease = time.Hour // nobody's lease ends, unless a test ends it
	// deadTimeout is for tests that wait for a gateway that does not answer. The others may not answer within it either.
	deadTimeout = time.Second
)

// gateway is a gateway without its network, its relay and its services. A token is the name of its user; everyone may enter
// every room but "closed".
type gateway struct {
	id          string
	incarnation int64
	nc          *nats.Conn
	hub         *hub.Hub
	registry    *hub.Registry
	sessions    *session.Server
	cluster     *Cluster
	api         clusterv1.ClusterServiceServer

	mu    sync.Mutex // guards rooms
	rooms map[*session.Socket][]string
}

var (
	_ session.App = (*gateway)(nil)
	_ Sockets     = (*gateway)(nil)
)

func startGateway(t *testing.T, server *embedded.Server, id string) *gateway {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st := sessiontest.Stats()
	g := &gateway{
		id: id, incarnation: time.Now().UnixNano(), nc: bustest.Connect(t, server),
		registry: hub.NewRegistry(), rooms: make(map[*session.Socket][]string),
	}
	g.hub = hub.New(2, st, log)
	g.cluster = New(Config{
		Gateway: id, Calls: 3, Timeout: sessiontest.Patience, RoomTimeout: sessiontest.Patience, LeaseInterval: testLease, MaxAckBytes: 65536,
	}, Deps{Bus: g.nc, Hub: g.hub, Registry: g.registry, Sockets: g, Announce: g.announce, Stats: st, Log: log})
	g.sessions = sessiontest.Server(t, g, sessiontest.Config(), st)
	g.api = g.cluster.Server()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); _ = g.cluster.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	const subscriptions = 4
	sessiontest.Eventually(t, func() bool { return g.nc.NumSubscriptions() == subscriptions }, func() string { return "the gateway does not listen" })
	if err := g.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	g.announce() // once: it is not the heartbeat that tells a newcomer of the others
	return g
}

// wantKnown waits until a gateway knows so many, itself among them.
func (g *gateway) wantKnown(t *testing.T, n int) {
	t.Helper()
	sessiontest.Eventually(t, func() bool { return len(g.cluster.alive()) == n }, func() string {
		return fmt.Sprintf("%s knows %v, want %d gateways", g.id, g.cluster.alive(), n)
	})
}

func startGateways(t *testing.T, n int) []*gateway {
	t.Helper()
	server := bustest.Server(t)
	gateways := make([]*gateway, n)
	for i := range gateways {
		gateways[i] = startGateway(t, server, fmt.Sprintf("gw%d", i))
	}
	for _, g := range gateways {
		g.wantKnown(t, n)
	}
	return gateways
}

// announce publishes the gateway's lease.
func (g *gateway) announce() {
	raw, _ := proto.Marshal(&eventv1.PresenceLease{GatewayId: g.id, Incarnation: g.incarnation})
	_ = g.nc.Publish(subject.PresenceLease, raw) // its connection may be killed
}

// expire is as if nothing was heard of another gateway for too long.
func (g *gateway) expire(id string) {
	g.cluster.leases.mu.Lock()
	defer g.cluster.leases.mu.Unlock()
	l := g.cluster.leases.gateways[id]
	l.seen = time.Now().Add(-10 * testLease)
	g.cluster.leases.gateways[id] = l
}

func (g *gateway) Connect(s *session.Session, namespace string, auth []byte) {
	var detail struct{ Token string }
	if err := json.Unmarshal(auth, &detail); err != nil {
		s.Refuse(namespace, "Invalid token", nil)
		return
	}
	socket := s.NewSocket("", namespace, detail.Token, nil)
	s.Admit(socket, "", func() { g.registry.Add(socket) })
}

func (g *gateway) Event(s *session.Socket, e session.Event) {
	var args []string
	if err := json.Unmarshal(e.Packet.AppendArgs(nil), &args); err != nil || e.Name != "room:join" {
		return
	}
	if err := g.Join(context.Background(), s, args[0]); err != nil {
		return
	}
	if m, err := session.AckMessage(s.Namespace, e.Packet.ID, []byte("[]"), nil); err == nil {
		s.Queue(m)
		s.Flush()
	}
}

func (*gateway) BatchEnd(*session.Socket) {}

func (g *gateway) Ack(s *session.Socket, id int64, args []byte, attachments [][]byte) {
	g.cluster.Acked(s, id, args, attachments)
}

func (g *gateway) Disconnected(s *session.Socket, _ transport.Reason) {
	g.registry.Remove(s)
	for _, roomID := range g.Rooms(s) {
		_, _ = g.Leave(context.Background(), s, roomID)
	}
}

func (g *gateway) Rooms(s *session.Socket) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.rooms[s])
}

func (g *gateway) Join(_ context.Context, s *session.Socket, roomID string) error {
	switch {
	case !namespaces.HasRooms(s.Namespace):
		return fault.New(fault.Invalid, "The namespace has no rooms")
	case roomID == "closed":
		return fault.Newf(fault.Forbidden, "%s may not", s.UserID)
	}
	history, err := session.Emit{Namespace: s.Namespace, Event: "room:history", Args: []byte("[[]]")}.Encode()
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.rooms[s] = append(g.rooms[s], roomID)
	g.mu.Unlock()
	var flushes transport.FlushSet
	g.hub.BeginJoin(s, roomID, 0)
	g.hub.CompleteJoin(s, roomID, 0, []*transport.Message{history}, &flushes)
	flushes.Flush()
	return nil
}

func (g *gateway) Leave(_ context.Context, s *session.Socket, roomID string) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.rooms[s], roomID)
	if i < 0 {
		return false, nil
	}
	g.rooms[s] = slices.Delete(g.rooms[s], i, i+1)
	g.hub.Leave(s, roomID)
	return true, nil
}

// member is a connected client.
type member struct {
	*sessiontest.Conn
	id        string
	namespace string
}

func (g *gateway) connect(t *testing.T, user, namespace string) *member {
	t.Helper()
	conn, _ := sessiontest.Open(g.sessions, session.Headers{})
	prefix := ""
	if namespace != "/" {
		prefix = namespace + ","
	}
	conn.Say(`40` + prefix + `{"token":"` + user + `"}`)
	var hello struct {
		SID string `json:"sid"`
	}
	reply := strings.TrimPrefix(conn.WaitFor(t, "40"), "40"+prefix)
	if err := json.Unmarshal([]byte(reply), &hello); err != nil {
		t.Fatalf("CONNECT reply %q: %v", reply, err)
	}
	m := &member{Conn: conn, id: hello.SID, namespace: prefix}
	sessiontest.Eventually(t, func() bool { return len(fetchUser(t, g, user, namespace).GetSockets()) > 0 }, func() string { return "not registered" })
	conn.Forget()
	return m
}

func (m *member) join(t *testing.T, room string) {
	t.Helper()
	m.Say(`42` + m.namespace + `7["room:join","` + room + `"]`)
	m.WaitFor(t, `43`+m.namespace+`7`)
	m.Forget()
}

// got gives the events that came, without their namespace.
func (m *member) got() []string {
	var events []string
	for _, p := range m.Packets() {
		events = append(events, strings.Replace(p, m.namespace, "", 1))
	}
	return events
}

// asked waits for an event that wants an ack, and gives the beginning of the ack.
func (m *member) asked(t *testing.T, event string) (ackID string) {
	t.Helper()
	sessiontest.Eventually(t, func() bool {
		for _, p := range m.got() {
			if i := strings.Index(p, `["`+event); i > 0 {
				head := p[:i]
				if _, after, binary := strings.Cut(head, "-"); binary {
					head = "42" + after
				}
				ackID = strings.TrimPrefix(head, "42")
			}
		}
		return ackID != ""
	}, func() string { return fmt.Sprintf("no %s in %q", event, m.Queued()) })
	return ackID
}

func withScopes(t *testing.T, scopes ...string) context.Context {
	t.Helper()
	md, err := caller.Metadata(nil, scopes, "")
	if err != nil {
		t.Fatal(err)
	}
	return metadata.NewIncomingContext(t.Context(), md)
}

func fetchUser(t *testing.T, g *gateway, user, namespace string) *clusterv1.FetchSocketsResponse {
	t.Helper()
	res, err := g.api.ListUserSockets(withScopes(t, caller.ScopeSockets), &clusterv1.UserSocketsRequest{UserId: user, Namespace: namespace})
	if err != nil {
		t.Fatalf("ListUserSockets(%s) = %v", user, err)
	}
	return res
}

func emit(t *testing.T, g *gateway, r *clusterv1.EmitRequest) *clusterv1.EmitResponse {
	t.Helper()
	if r.Event == "" {
		r.Event = "e"
	}
	res, err := g.api.Emit(withScopes(t, caller.ScopeEmit), r)
	if err != nil {
		t.Fatalf("Emit(%v) = %v", r, err)
	}
	return res
}

func values(t *testing.T, list ...any) *structpb.ListValue {
	t.Helper()
	l, err := structpb.NewList(list)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
