package relay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/starling-chat/starling/gateway/internal/relay"
	"github.com/starling-chat/starling/gateway/internal/roomfeed"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

const (
	clusterLease   = 900 * time.Millisecond // a lease ends after three seconds
	clusterTimeout = 500 * time.Millisecond
)

// tokenIsUser is an auth-service for which a token is the name of its user.
type tokenIsUser struct{ authv1.AuthServiceClient }

func (tokenIsUser) Authenticate(_ context.Context, r *authv1.AuthenticateRequest, _ ...grpc.CallOption) (*authv1.AuthenticateResponse, error) {
	return &authv1.AuthenticateResponse{Identity: &eventv1.Identity{UserId: r.GetToken(), Name: r.GetToken(), Role: "user"}}, nil
}

func (tokenIsUser) ListRevocations(context.Context, *authv1.ListRevocationsRequest, ...grpc.CallOption) (*authv1.ListRevocationsResponse, error) {
	return &authv1.ListRevocationsResponse{}, nil
}

// openRooms is a chat-service that lets everyone into every room but "closed".
type openRooms struct{ chatv1.ChatServiceClient }

func (openRooms) JoinRoom(_ context.Context, r *chatv1.JoinRoomRequest, _ ...grpc.CallOption) (*chatv1.JoinRoomResponse, error) {
	var args []string
	if err := json.Unmarshal(r.GetEvent().GetArgs(), &args); err != nil {
		return nil, err
	}
	if args[0] == "closed" {
		return nil, fault.ToStatus(fault.Newf(fault.Forbidden, "%s may not", r.GetEvent().GetIdentity().GetUserId()))
	}
	return &chatv1.JoinRoomResponse{
		RoomId: args[0], AckArgs: []byte(`[{"ok":true}]`), Emits: []*eventv1.Emit{{Event: "room:history", Args: []byte(`[[]]`)}},
	}, nil
}

func (openRooms) GetHeads(context.Context, *chatv1.GetHeadsRequest, ...grpc.CallOption) (*chatv1.GetHeadsResponse, error) {
	return &chatv1.GetHeadsResponse{}, nil
}

// clusterGateway is a gateway without its network.
type clusterGateway struct {
	id       string
	nc       *nats.Conn
	sessions *session.Server
	api      clusterv1.ClusterServiceServer
}

func startClusterGateway(t *testing.T, server *embedded.Server, id string) *clusterGateway {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	nc := bustest.Connect(t, server)
	st := stats.New(prometheus.NewRegistry(), func() int64 { return 0 })
	r := relay.New(context.WithoutCancel(t.Context()), relay.Config{
		GatewayID: id, Incarnation: time.Now().UnixNano(), EventBurst: 100, MaxEventBytes: 65536, MaxRooms: 10, MaxQueued: 64,
		MaxInFlight: 1000, MaxWaiting: 1 << 20, MaxHandshakes: 100, EventTimeout: 2 * time.Second, AuthTimeout: time.Second, Linger: time.Second,
		GapWait: 10 * time.Millisecond, HeadInterval: time.Minute, LeaseInterval: clusterLease,
		ClusterTimeout: clusterTimeout, ClusterCalls: 3,
	}, relay.Deps{Bus: nc, Auth: tokenIsUser{}, Chat: openRooms{}, Rooms: roomfeed.NewSource(nc, openRooms{}), Stats: st, Log: log})
	sessions := session.NewServer(sessiontest.Config(), session.NewSIDs(id, []byte("key")), r, socketio.NewNames("/"), st, log)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return &clusterGateway{id: id, nc: nc, sessions: sessions, api: r.Cluster()}
}

func startCluster(t *testing.T, n int) []*clusterGateway {
	t.Helper()
	server := bustest.Server(t)
	gateways := make([]*clusterGateway, n)
	for i := range gateways {
		gateways[i] = startClusterGateway(t, server, fmt.Sprintf("gw%d", i))
	}
	return gateways
}

// member is a connected client.
type member struct {
	*sessiontest.Conn
	id        string
	namespace string
}

func (g *clusterGateway) connect(t *testing.T, user, namespace string) *member {
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

func fetchUser(t *testing.T, g *clusterGateway, user, namespace string) *clusterv1.FetchSocketsResponse {
	t.Helper()
	res, err := g.api.ListUserSockets(withScopes(t, caller.ScopeSockets), &clusterv1.UserSocketsRequest{UserId: user, Namespace: namespace})
	if err != nil {
		t.Fatalf("ListUserSockets(%s) = %v", user, err)
	}
	return res
}

func emit(t *testing.T, g *clusterGateway, r *clusterv1.EmitRequest) *clusterv1.EmitResponse {
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

func TestClusterEmit(t *testing.T) {
	gs := startCluster(t, 3)
	ann, bob := gs[0].connect(t, "ann", "/"), gs[1].connect(t, "bob", "/")
	bobChat, cid := gs[2].connect(t, "bob", "/chat"), gs[2].connect(t, "cid", "/")
	all := []*member{ann, bob, bobChat, cid}
	for _, m := range []*member{ann, bob, bobChat} {
		m.join(t, "r.*")
	}
	bob.join(t, "s")
	for name, tc := range map[string]struct {
		r    *clusterv1.EmitRequest
		want []*member
	}{
		"a room":              {&clusterv1.EmitRequest{Rooms: []string{"r.*"}}, []*member{ann, bob}},
		"a room, short":       {&clusterv1.EmitRequest{RoomId: "s"}, []*member{bob}},
		"a room of /chat":     {&clusterv1.EmitRequest{Rooms: []string{"r.*"}, Namespace: "/chat"}, []*member{bobChat}},
		"two rooms, once":     {&clusterv1.EmitRequest{Rooms: []string{"r.*", "s"}, Users: []string{"bob"}}, []*member{ann, bob}},
		"a user":              {&clusterv1.EmitRequest{UserId: "bob"}, []*member{bob}},
		"a socket":            {&clusterv1.EmitRequest{Sockets: []string{cid.id}}, []*member{cid}},
		"everyone":            {&clusterv1.EmitRequest{All: true}, []*member{ann, bob, cid}},
		"except a room":       {&clusterv1.EmitRequest{All: true, Except: &clusterv1.Except{Rooms: []string{"r.*"}}}, []*member{cid}},
		"except user, socket": {&clusterv1.EmitRequest{All: true, Except: &clusterv1.Except{Users: []string{"bob"}, Sockets: []string{ann.id}}}, []*member{cid}},
		"nobody there":        {&clusterv1.EmitRequest{Users: []string{"zoe"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, m := range all {
				m.Forget()
			}
			tc.r.Args = values(t, "x", 1.5, nil, map[string]any{"a": []any{true}})
			res := emit(t, gs[1], tc.r)
			if int(res.GetSockets()) != len(tc.want) || res.GetPartial() {
				t.Errorf("Emit = %v, want %d sockets", res, len(tc.want))
			}
			for _, m := range tc.want {
				m.WaitFor(t, "4")
			}
			for i, m := range all {
				var want []string
				if slices.Contains(tc.want, m) {
					want = []string{`42["e","x",1.5,null,{"a":[true]}]`}
				}
				if diff := cmp.Diff(want, m.got()); diff != "" {
					t.Errorf("client %d got (-want +got):\n%s", i, diff)
				}
			}
		})
	}
	ann.Forget()
	emit(t, gs[2], &clusterv1.EmitRequest{UserId: "ann", Data: placeholder(t, 0), Attachments: [][]byte{{1, 2}}})
	if diff := cmp.Diff([]string{`451-["e",{"_placeholder":true,"num":0}]`, "b\x01\x02"}, ann.got()); diff != "" {
		t.Errorf("binary event (-want +got):\n%s", diff)
	}
}

func placeholder(t *testing.T, n int) *structpb.Value {
	t.Helper()
	v, err := structpb.NewValue(map[string]any{"_placeholder": true, "num": n})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type emitted struct {
	res *clusterv1.EmitResponse
	err error
}

func emitLater(t *testing.T, g *clusterGateway, r *clusterv1.EmitRequest) <-chan emitted {
	t.Helper()
	ctx := withScopes(t, caller.ScopeEmit)
	done := make(chan emitted, 1)
	go func() {
		res, err := g.api.Emit(ctx, r)
		done <- emitted{res, err}
	}()
	return done
}

func TestClusterAcks(t *testing.T) {
	gs := startCluster(t, 2)
	ann, bob := gs[0].connect(t, "ann", "/"), gs[1].connect(t, "bob", "/")
	start := time.Now()
	done := emitLater(t, gs[0], &clusterv1.EmitRequest{All: true, Event: "ask", Ack: &clusterv1.AckWish{TimeoutMs: 4000}})
	id := ann.asked(t, "ask")
	ann.Say("43"+id+`["one",{"n":[1,null]}]`, "43"+id+`["again"]`, "43999[]") // the second ack and the unknown one are ignored
	bob.Say("461-" + bob.asked(t, "ask") + `[{"_placeholder":true,"num":0}]`)
	bob.SayBinary([]byte{7, 8})
	got := <-done
	if got.err != nil || time.Since(start) > 3*time.Second {
		t.Fatalf("Emit = %v after %v, want it when all acks are there", got.err, time.Since(start))
	}
	replies := map[string]*clusterv1.AckReply{}
	for _, r := range got.res.GetReplies() {
		replies[r.GetUserId()] = r
	}
	if len(replies) != 2 || got.res.GetExpected() != 2 || got.res.GetMissing() != 0 || got.res.GetPartial() {
		t.Fatalf("Emit = %v, want two replies", got.res)
	}
	if diff := cmp.Diff([]any{"one", map[string]any{"n": []any{1.0, nil}}}, replies["ann"].GetArgs().AsSlice()); diff != "" || replies["ann"].GetSocketId() != ann.id {
		t.Errorf("ann's ack (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]byte{{7, 8}}, replies["bob"].GetAttachments()); diff != "" {
		t.Errorf("bob's attachments (-want +got):\n%s", diff)
	}
}

func TestClusterAcksMissing(t *testing.T) {
	gs := startCluster(t, 2)
	ann, bob := gs[0].connect(t, "ann", "/"), gs[1].connect(t, "bob", "/")
	start := time.Now()
	done := emitLater(t, gs[1], &clusterv1.EmitRequest{All: true, Event: "ask", Ack: &clusterv1.AckWish{TimeoutMs: 300}})
	id := ann.asked(t, "ask")
	ann.Say("43" + id + `[1]`)
	got := <-done
	if took := time.Since(start); got.err != nil || took < 250*time.Millisecond || took > 800*time.Millisecond {
		t.Fatalf("Emit = %v after %v, want an answer after 300 ms", got.err, took)
	}
	if r := got.res; len(r.GetReplies()) != 1 || r.GetExpected() != 2 || r.GetMissing() != 1 || !r.GetPartial() || r.GetMissingGateways() != 0 {
		t.Errorf("Emit = %v, want one reply of two", r)
	}
	bob.Say("43" + bob.asked(t, "ask") + `["late"]`) // ignored
	if res := emit(t, gs[0], &clusterv1.EmitRequest{All: true}); res.GetSockets() != 2 {
		t.Errorf("Emit afterwards = %v, want 2 sockets", res)
	}
	large := strings.Repeat("x", 70_000)
	done = emitLater(t, gs[1], &clusterv1.EmitRequest{UserId: "ann", Event: "large", Ack: &clusterv1.AckWish{}})
	ann.Say("43" + ann.asked(t, "large") + `["` + large + `"]`)
	if got := <-done; got.err != nil || got.res.GetMissing() != 0 || !got.res.GetTruncated() || !got.res.GetReplies()[0].GetTruncated() {
		t.Errorf("Emit with a large ack = %v, %v, want it truncated", got.res, got.err)
	}
}

func TestClusterFetchAndDisconnect(t *testing.T) {
	gs := startCluster(t, 3)
	var want []string
	members := map[string]*member{}
	for i := range 9 {
		m := gs[i%3].connect(t, fmt.Sprintf("user%d", i), "/")
		members[m.id] = m
		want = append(want, m.id)
	}
	slices.Sort(want)
	var got []string
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		res, err := gs[0].api.FetchSockets(withScopes(t, caller.ScopeSockets), &clusterv1.FetchSocketsRequest{All: true, Limit: 2, Cursor: cursor})
		if err != nil || res.GetPartial() || len(res.GetSockets()) > 2 || pages > 9 {
			t.Fatalf("FetchSockets(%q) = %v, %v", cursor, res, err)
		}
		for _, s := range res.GetSockets() {
			got = append(got, s.GetSocketId())
		}
		cursor = res.GetNextCursor()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("FetchSockets by pages (-want +got):\n%s", diff)
	}

	ann, chat := gs[1].connect(t, "ann", "/"), gs[2].connect(t, "ann", "/chat")
	ann.join(t, "b")
	ann.join(t, "a")
	res := fetchUser(t, gs[0], "ann", "/")
	if len(res.GetSockets()) != 1 {
		t.Fatalf("ListUserSockets = %v, want one", res)
	}
	s := res.GetSockets()[0]
	if s.GetSocketId() != ann.id || s.GetGatewayId() != "gw1" || s.GetNamespace() != "/" || !slices.Equal(s.GetRooms(), []string{"a", "b"}) || time.Since(s.GetConnectedAt().AsTime()) > time.Minute {
		t.Errorf("ListUserSockets = %v", s)
	}
	gone, err := gs[0].api.DisconnectUserSockets(withScopes(t, caller.ScopeSockets), &clusterv1.UserSocketsRequest{UserId: "ann"})
	if err != nil || gone.GetClosed() != 2 || gone.GetPartial() {
		t.Errorf("DisconnectUserSockets = %v, %v, want 2", gone, err)
	}
	ann.WaitEnded(t)
	chat.WaitEnded(t)
	if !slices.Contains(ann.got(), "41") || len(fetchUser(t, gs[0], "ann", "").GetSockets()) != 0 {
		t.Errorf("after the disconnect: %q, %v", ann.got(), fetchUser(t, gs[0], "ann", ""))
	}
	if len(members[want[0]].Packets()) != 0 {
		t.Errorf("another user got %q", members[want[0]].Packets())
	}
}

func TestClusterDisconnectOneNamespace(t *testing.T) {
	gs := startCluster(t, 2)
	ann := gs[0].connect(t, "ann", "/")
	ann.Say(`40/chat,{"token":"ann"}`)
	ann.WaitFor(t, "40/chat,")
	sessiontest.Eventually(t, func() bool { return len(fetchUser(t, gs[1], "ann", "").GetSockets()) == 2 }, func() string { return "no /chat" })
	ctx := withScopes(t, caller.ScopeSockets)
	if _, err := gs[1].api.DisconnectSockets(ctx, &clusterv1.DisconnectSocketsRequest{Users: []string{"ann"}, Namespace: "/chat"}); err != nil {
		t.Fatal(err)
	}
	ann.WaitFor(t, "41/chat,")
	if _, _, ended := ann.Ended(); ended || len(fetchUser(t, gs[1], "ann", "").GetSockets()) != 1 {
		t.Errorf("leaving /chat ended the session, or did nothing")
	}
	ann.Say(`40/notifications,{"token":"ann"}`)
	ann.WaitFor(t, "40/notifications,")
	sessiontest.Eventually(t, func() bool { return len(fetchUser(t, gs[1], "ann", "").GetSockets()) == 2 }, func() string { return "no /notifications" })
	res, err := gs[1].api.DisconnectSockets(ctx, &clusterv1.DisconnectSocketsRequest{Sockets: []string{ann.id}, Close: true})
	if err != nil || res.GetClosed() != 2 {
		t.Errorf("DisconnectSockets with close = %v, %v, want 2", res, err)
	}
	ann.WaitEnded(t)
}

func TestClusterJoinAndLeave(t *testing.T) {
	gs := startCluster(t, 2)
	ann, bob, note := gs[0].connect(t, "ann", "/"), gs[1].connect(t, "bob", "/"), gs[1].connect(t, "bob", "/notifications")
	ctx := withScopes(t, caller.ScopeSockets)
	res, err := gs[0].api.JoinRooms(ctx, &clusterv1.JoinRoomsRequest{All: true, Namespace: "/", JoinRooms: []string{"r", "closed"}})
	if err != nil || res.GetSockets() != 2 || res.GetJoined() != 2 || res.GetFailed() != 2 || res.GetPartial() {
		t.Fatalf("JoinRooms = %v, %v, want 2 joined and 2 refused", res, err)
	}
	if f := res.GetFailures()[0]; f.GetCode() != "forbidden" || f.GetRoomId() != "closed" || !strings.HasSuffix(f.GetMessage(), "may not") {
		t.Errorf("failure = %v", f)
	}
	for _, m := range []*member{ann, bob} {
		if diff := cmp.Diff([]string{`42["room:history",[]]`}, m.got()); diff != "" {
			t.Errorf("joined client got (-want +got):\n%s", diff)
		}
		m.Forget()
	}
	if res := emit(t, gs[1], &clusterv1.EmitRequest{RoomId: "r"}); res.GetSockets() != 2 {
		t.Errorf("Emit to the room = %v, want 2 sockets", res)
	}
	refused, err := gs[0].api.JoinRooms(ctx, &clusterv1.JoinRoomsRequest{Sockets: []string{note.id}, JoinRooms: []string{"r"}})
	if err != nil || refused.GetFailed() != 1 || refused.GetFailures()[0].GetCode() != "invalid" {
		t.Errorf("JoinRooms on /notifications = %v, %v, want it refused", refused, err)
	}
	left, err := gs[0].api.LeaveRooms(ctx, &clusterv1.LeaveRoomsRequest{Users: []string{"bob"}, Namespace: "/", LeaveRooms: []string{"r", "never"}})
	if err != nil || left.GetSockets() != 1 || left.GetLeft() != 1 || left.GetPartial() {
		t.Errorf("LeaveRooms = %v, %v, want 1", left, err)
	}
	if res := emit(t, gs[1], &clusterv1.EmitRequest{RoomId: "r"}); res.GetSockets() != 1 {
		t.Errorf("Emit to the room = %v, want 1 socket", res)
	}
	bob.join(t, "r") // the member comes back by itself
	if res := emit(t, gs[1], &clusterv1.EmitRequest{RoomId: "r"}); res.GetSockets() != 2 {
		t.Errorf("Emit to the room = %v, want 2 sockets", res)
	}
}

func TestClusterGatewayDies(t *testing.T) {
	gs := startCluster(t, 3)
	ann := gs[0].connect(t, "ann", "/")
	gs[1].connect(t, "bob", "/")
	cid := gs[2].connect(t, "cid", "/")
	start := time.Now()
	done := emitLater(t, gs[0], &clusterv1.EmitRequest{All: true, Event: "ask", Ack: &clusterv1.AckWish{TimeoutMs: 700}})
	cid.Say("43" + cid.asked(t, "ask") + `[1]`)
	ann.asked(t, "ask")
	gs[1].nc.Close() // as kill -9: no goodbye
	ann.Say("43" + ann.asked(t, "ask") + `[2]`)
	got := <-done
	if got.err != nil || time.Since(start) > 1200*time.Millisecond {
		t.Fatalf("Emit = %v after %v, want a partial answer after 700 ms", got.err, time.Since(start))
	}
	if r := got.res; len(r.GetReplies()) != 2 || !r.GetPartial() || r.GetMissing() != 1 && r.GetMissingGateways() != 1 {
		t.Errorf("Emit = %v, want two replies, and one socket or its gateway missing", r)
	}

	start = time.Now()
	res := emit(t, gs[0], &clusterv1.EmitRequest{All: true})
	if took := time.Since(start); !res.GetPartial() || res.GetMissingGateways() != 1 || res.GetSockets() != 2 || took > clusterTimeout+300*time.Millisecond {
		t.Errorf("Emit with a dead gateway = %v after %v, want it partial after %v", res, took, clusterTimeout)
	}
	start = time.Now()
	done = emitLater(t, gs[0], &clusterv1.EmitRequest{UserId: "ann", Event: "again", Ack: &clusterv1.AckWish{TimeoutMs: 5000}})
	ann.Say("43" + ann.asked(t, "again") + `[3]`)
	if got := <-done; got.err != nil || len(got.res.GetReplies()) != 1 || got.res.GetMissingGateways() != 1 || time.Since(start) > 2*time.Second {
		t.Errorf("Emit with ack and a dead gateway = %v, %v after %v, want no wait for acks beyond the dead gateway's time", got.res, got.err, time.Since(start))
	}
	sessiontest.Eventually(t, func() bool { return !fetchUser(t, gs[0], "bob", "").GetPartial() }, func() string { return "the dead gateway is waited for" })
}

func TestClusterGrowsAndShrinks(t *testing.T) {
	server := bustest.Server(t)
	one := startClusterGateway(t, server, "one")
	one.connect(t, "ann", "/")
	two := startClusterGateway(t, server, "two")
	if res := fetchUser(t, two, "ann", ""); len(res.GetSockets()) != 1 || res.GetPartial() {
		t.Errorf("ListUserSockets by a new gateway = %v, want ann's", res)
	}
	one.nc.Close()
	if res := fetchUser(t, two, "ann", ""); !res.GetPartial() || res.GetMissingGateways() != 1 {
		t.Errorf("ListUserSockets = %v, want it partial", res)
	}
	again := startClusterGateway(t, server, "one") // a restart with the same name
	again.connect(t, "ann", "/")
	if res := fetchUser(t, two, "ann", ""); len(res.GetSockets()) != 1 || res.GetPartial() {
		t.Errorf("ListUserSockets after the restart = %v, want ann's", res)
	}
}

func TestClusterRefusals(t *testing.T) {
	gs := startCluster(t, 1)
	ann := gs[0].connect(t, "ann", "/")
	long := strings.Repeat("x", 513)
	ok := func() *clusterv1.EmitRequest { return &clusterv1.EmitRequest{All: true, Event: "e"} }
	for name, tc := range map[string]struct {
		scopes []string
		change func(*clusterv1.EmitRequest)
		want   fault.Kind
	}{
		"no key":              {nil, nil, fault.Unauthenticated},
		"another scope":       {[]string{caller.ScopeSockets}, nil, fault.Forbidden},
		"no event":            {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Event = "" }, fault.Invalid},
		"reserved event":      {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Event = "disconnect" }, fault.Invalid},
		"no target":           {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.All = false }, fault.Invalid},
		"all and a room":      {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.RoomId = "r" }, fault.Invalid},
		"unknown namespace":   {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Namespace = "/x" }, fault.Invalid},
		"long id":             {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Except = &clusterv1.Except{Users: []string{long}} }, fault.Invalid},
		"many ids":            {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.All, r.Users = false, make([]string, 1001) }, fault.TooLarge},
		"large args":          {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Data = structpb.NewStringValue(strings.Repeat("x", 600_000)) }, fault.TooLarge},
		"data and args":       {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Data, r.Args = structpb.NewNullValue(), &structpb.ListValue{} }, fault.Invalid},
		"stray placeholder":   {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Data, r.Attachments = placeholder(t, 1), [][]byte{{1}} }, fault.Invalid},
		"many attachments":    {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Attachments = make([][]byte, 11) }, fault.TooLarge},
		"long wait for acks":  {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Ack = &clusterv1.AckWish{TimeoutMs: 30_001} }, fault.Invalid},
		"nothing to complain": {[]string{caller.ScopeEmit}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := ok()
			if tc.change != nil {
				tc.change(r)
			}
			_, err := gs[0].api.Emit(withScopes(t, tc.scopes...), r)
			if got := fault.KindOf(err); got != tc.want {
				t.Errorf("Emit = %v, want %q", err, tc.want)
			}
		})
	}
	var waiting []<-chan emitted
	for range 3 {
		waiting = append(waiting, emitLater(t, gs[0], &clusterv1.EmitRequest{All: true, Event: "ask", Ack: &clusterv1.AckWish{TimeoutMs: 600}}))
	}
	sessiontest.Eventually(t, func() bool {
		return len(slices.DeleteFunc(ann.got(), func(p string) bool { return !strings.Contains(p, `["ask"`) })) == 3
	}, func() string { return "the calls do not run" })
	if _, err := gs[0].api.Emit(withScopes(t, caller.ScopeEmit), ok()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a fourth call at once = %v, want it refused", err)
	}
	for _, w := range waiting {
		<-w
	}
}
