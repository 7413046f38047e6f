package presenceservice_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/platform/porttest"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/platform/stall"
	presenceservice "github.com/starling-chat/starling/presence-service"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	testExpiry = 4 * time.Second
	testGrace  = time.Second
	// Often, so that the tests need not wait long for messages.
	testPublish = 500 * time.Millisecond
	testRefresh = 1500 * time.Millisecond
	// electionPeriod is in which a replica asks for the leader's lock again.
	electionPeriod = time.Second
	// soon is within what something must happen that takes no time of its own.
	soon = 30 * time.Second
)

func testConfig(natsURL string, db settings.URL) presenceservice.Config {
	return presenceservice.Config{
		NATS:     bus.Settings{URL: settings.URL(natsURL)},
		Database: pg.Settings{URL: db, MaxConns: 2, Schema: "presence", Migrate: true},
		RPC:      rpc.Settings{Listen: "127.0.0.1:0"},
		Stall:    stall.Settings{Limit: time.Hour}, // nobody but the machine makes it stand
		ChatAddr: "127.0.0.1:1", LeaseExpiry: testExpiry, OfflineGrace: testGrace,
		PublishEvery: testPublish, RefreshEvery: testRefresh,
	}
}

func emptyDatabase(t *testing.T) pg.Config { return pgtest.New(t, nil, "presence") }

// service is one running replica.
type service struct {
	addr string
	stop func() // ends it cleanly; once or more
}

func startService(t *testing.T, cfg presenceservice.Config) *service {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.RPC.Listener = listener
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		if log, err = obs.NewLogger(os.Stderr, "info", "text"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- presenceservice.Run(ctx, cfg, log) }()
	stop := func() {
		cancel()
		select {
		case err, running := <-done:
			if running && err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
			if running {
				close(done)
			}
		case <-time.After(soon):
			t.Error("Run did not end")
		}
	}
	t.Cleanup(stop)
	return &service{listener.Addr().String(), stop}
}

// get asks presence:get and gives the ack or the fault.
func get(t *testing.T, conn *nats.Conn, args string) (string, *eventv1.Fault) {
	t.Helper()
	s, err := subject.ClientEvent("/chat", "presence:get")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(&eventv1.ClientEvent{Event: "presence:get", Args: []byte(args), Identity: &eventv1.Identity{UserId: "me"}})
	if err != nil {
		t.Fatal(err)
	}
	var m *nats.Msg
	eventually(t, soon, "presence:get is answered", func() bool { // a replica publishes before it answers
		m, err = conn.Request(s, raw, 30*time.Second)
		return !errors.Is(err, nats.ErrNoResponders)
	})
	if err != nil {
		t.Fatalf("presence:get %s: %v", args, err)
	}
	var reply eventv1.ClientReply
	if err := proto.Unmarshal(m.Data, &reply); err != nil {
		t.Fatal(err)
	}
	return string(reply.GetAckArgs()), reply.GetFault()
}

func TestServiceLifeOfAGateway(t *testing.T) {
	t.Parallel()
	conn, db := bustest.New(t), emptyDatabase(t)
	online := watchOnline(t, conn)
	gateway := startGateway(t, conn, "g1")
	gateway.change(map[string]string{"s1": "ann", "s2": "bob", "s3": "bob"})
	s := startService(t, testConfig(conn.ConnectedUrl(), db.URL))
	online.await(time.Time{}, soon, "ann", "bob")

	// A change after quiet is told at once.
	time.Sleep(testPublish + testPublish/5)
	changed := time.Now()
	gateway.change(map[string]string{"s4": "cat"})
	online.await(changed, soon, "ann", "bob", "cat")

	// A reconnect within the grace is not told. A machine that stands may take longer for it.
	socket := "s4"
	eventually(t, soon, "cat reconnects and stays", func() bool {
		moved, next := time.Now(), socket+"+"
		gateway.change(nil, socket)
		time.Sleep(testGrace / 4)
		gateway.change(map[string]string{next: "cat"})
		socket = next
		time.Sleep(testGrace + testPublish/2)
		return !slices.ContainsFunc(online.since(moved), func(p published) bool { return p.count != 3 })
	})

	left := time.Now()
	gateway.change(nil, socket)
	online.await(left, soon, "ann", "bob")
	ack, refused := get(t, conn, `[{"userIds":["cat","ann","zoe"],"extra":1}]`)
	if want := `[{"ok":true,"users":[{"userId":"cat","online":false,"lastSeen":"`; !strings.HasPrefix(ack, want) {
		t.Errorf("presence:get = %s, %v, want %s…", ack, refused, want)
	}
	if want := `"},{"userId":"ann","online":true,"lastSeen":null},{"userId":"zoe","online":false,"lastSeen":null}]}]`; !strings.HasSuffix(ack, want) {
		t.Errorf("presence:get = %s, want …%s", ack, want)
	}

	// A delta that is lost is repaired by the digest of the next lease.
	lost := time.Now()
	gateway.mu.Lock()
	gateway.deaf = true
	gateway.mu.Unlock()
	gateway.change(map[string]string{"s6": "dan"})
	online.await(lost, soon, "ann", "bob", "dan")

	killed := time.Now()
	gateway.kill()
	online.await(killed, testExpiry+soon)
	s.stop()

	conf, err := pgx.Connect(t.Context(), db.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conf.Close(t.Context()) }()
	var rows int
	if err := conf.QueryRow(t.Context(), `SELECT count(*) FROM presence.last_seen WHERE seen_at BETWEEN $1 AND now()`,
		left.Add(-time.Second)).Scan(&rows); err != nil || rows != 4 {
		t.Errorf("last_seen has %d rows, %v, want 4 written at shutdown", rows, err)
	}
}

func TestServiceEnding(t *testing.T) {
	t.Parallel()
	conn, db := bustest.New(t), emptyDatabase(t)
	online := watchOnline(t, conn)
	cfg := testConfig(conn.ConnectedUrl(), db.URL)
	cfg.LeaseExpiry, cfg.OfflineGrace = time.Minute, 5*testGrace
	a, b := startGateway(t, conn, "a"), startGateway(t, conn, "b")
	a.change(map[string]string{"s1": "ann", "s2": "bob"})
	startService(t, cfg)
	online.await(time.Time{}, 2*soon, "ann", "bob")
	ended := time.Now()
	a.end()
	b.change(map[string]string{"s1": "ann"}) // resumed elsewhere
	online.await(ended, soon, "ann")
	for _, p := range online.since(ended) {
		if p.count == 0 {
			t.Error("ann flapped")
		}
	}
}

func TestServiceRestartFlapsNobody(t *testing.T) {
	t.Parallel()
	conn, db := bustest.New(t), emptyDatabase(t)
	online := watchOnline(t, conn)
	for i := range 3 {
		g := startGateway(t, conn, fmt.Sprintf("g%d", i))
		g.change(map[string]string{"s1": fmt.Sprintf("u%d", i), "s2": fmt.Sprintf("v%d", i), "s3": "all"})
	}
	want := []string{"all", "u0", "u1", "u2", "v0", "v1", "v2"}
	cfg := testConfig(conn.ConnectedUrl(), db.URL)
	for range 3 {
		began := time.Now()
		s := startService(t, cfg)
		online.await(began, soon, want...)
		s.stop()
	}
	for _, p := range online.since(time.Time{}) {
		if len(p.users) != len(want) {
			t.Errorf("online = %v, want always %v", p.users, want)
		}
	}
}

func TestServiceOneLeader(t *testing.T) {
	t.Parallel()
	conn, db := bustest.New(t), emptyDatabase(t)
	online := watchOnline(t, conn)
	gateway := startGateway(t, conn, "g")
	gateway.change(map[string]string{"s0": "u"})
	cfg := testConfig(conn.ConnectedUrl(), db.URL)
	first := startService(t, cfg)
	online.await(time.Time{}, soon, "u")
	startService(t, cfg)
	time.Sleep(electionPeriod)

	// One replica publishes, once each period. A machine that stands has the other one believe that nobody does, and delivers late.
	eventually(t, soon, "one replica publishes, now and then", func() bool {
		began := time.Now()
		for i := range 8 { // ask for many messages
			user := fmt.Sprintf("x%d of %v", i, began.UnixNano())
			gateway.change(map[string]string{user: user})
			time.Sleep(testPublish / 3)
		}
		return len(online.replicas(began)) == 1 && len(online.since(began)) <= 3+int(time.Since(began)/testPublish)
	})

	// The loss of the lock's connection is no reason to stop.
	admin, err := pgx.Connect(t.Context(), db.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(t.Context()) }()
	if _, err := admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); err != nil {
		t.Fatal(err)
	}
	broken := time.Now()
	gateway.change(map[string]string{"y": "y"})
	eventually(t, soon, "a message", func() bool { return len(online.since(broken)) > 0 })
	time.Sleep(2 * electionPeriod) // both replicas have asked for the lock again
	eventually(t, soon, "one replica publishes", func() bool {
		quiet := time.Now()
		gateway.change(map[string]string{fmt.Sprint("y", quiet.UnixNano()): "y"})
		time.Sleep(testRefresh + testPublish) // for another one that should not be
		return len(online.replicas(quiet)) == 1
	})

	stopped := time.Now()
	first.stop()
	gateway.change(map[string]string{"z": "z"})
	eventually(t, soon, "the other replica publishes z", func() bool {
		for _, p := range online.since(stopped) {
			if slices.Contains(p.users, "z") {
				return true
			}
		}
		return false
	})
}

func TestServiceWithoutPostgreSQL(t *testing.T) {
	t.Parallel()
	conn := bustest.New(t)
	online := watchOnline(t, conn)
	gateway := startGateway(t, conn, "g")
	gateway.change(map[string]string{"s": "ann"})
	cfg := testConfig(conn.ConnectedUrl(), "postgres://nobody:secret@127.0.0.1:1/none")
	startService(t, cfg)
	startService(t, cfg)
	online.await(time.Time{}, soon, "ann")
	if ack, refused := get(t, conn, `[{"userIds":["ann"]}]`); refused != nil {
		t.Errorf("presence:get of somebody online = %s, %v, want an ack", ack, refused)
	}
	if _, refused := get(t, conn, `[{"userIds":["bob"]}]`); refused.GetCode() != string(fault.Unavailable) || refused.GetRetryAfterMs() == 0 {
		t.Errorf("presence:get of somebody offline = %v, want unavailable with a time", refused)
	}
	eventually(t, soon, "one replica publishes", func() bool { // of two that began together, the higher has heard the lower
		quiet := time.Now()
		gateway.change(map[string]string{fmt.Sprint("t", quiet.UnixNano()): "bob"})
		time.Sleep(testRefresh + testPublish)
		return len(online.replicas(quiet)) == 1
	})
}

func TestServiceNATSComesAndGoes(t *testing.T) {
	t.Parallel()
	db := emptyDatabase(t)
	store := t.TempDir()
	start := func(port int) *embedded.Server {
		s, err := embedded.Start(embedded.Config{StoreDir: store, Port: port})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	address := netip.MustParseAddrPort(porttest.Reserve(t)) // unused at first
	url, port := "nats://"+address.String(), int(address.Port())
	startService(t, testConfig(url, db.URL))
	time.Sleep(100 * time.Millisecond) // the service has begun to look for NATS
	server := start(port)
	conn, err := bus.Connect(t.Context(), bus.Config{URL: settings.URL(url), Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := bustest.WaitConnected(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	online := watchOnline(t, conn)
	gateway := startGateway(t, conn, "g")
	gateway.change(map[string]string{"s": "ann"})
	online.await(time.Time{}, 3*soon, "ann")

	down := time.Now()
	server.Close()
	time.Sleep(testExpiry * 5 / 4)
	gateway.change(map[string]string{"t": "bob"}) // lost
	server = start(port)
	defer server.Close()
	online.await(down, 3*soon, "ann", "bob")
	time.Sleep(testExpiry * 5 / 4)
	for _, p := range online.since(down) {
		if p.count == 0 {
			t.Error("ann flapped over the outage")
		}
	}
}

// fakeChat knows one room.
type fakeChat struct {
	chatv1.UnimplementedChatServiceServer
}

func (fakeChat) ListMembers(ctx context.Context, req *chatv1.ListMembersRequest) (*chatv1.ListMembersResponse, error) {
	switch {
	case req.GetRoomId() == "slow":
		<-ctx.Done()
		return nil, ctx.Err()
	case req.GetRoomId() != "room":
		return nil, fault.New(fault.NotFound, "Room not found")
	case req.GetAsUserId() != "me":
		return nil, fault.New(fault.Forbidden, "Not a member of this room")
	}
	return &chatv1.ListMembersResponse{UserIds: []string{"me", "ann"}}, nil
}

func TestServiceAnswers(t *testing.T) {
	t.Parallel()
	conn, db := bustest.New(t), emptyDatabase(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	chat := rpc.NewServer(rpc.ServerConfig{Listener: listener, Token: "secret"})
	chatv1.RegisterChatServiceServer(chat.GRPC(), fakeChat{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- chat.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("chat.Run = %v, want nil", err)
		}
	}()

	catalogs := make(chan *nats.Msg, 16)
	if _, err := conn.ChanSubscribe(subject.CatalogAnnounce, catalogs); err != nil {
		t.Fatal(err)
	}
	online := watchOnline(t, conn)
	startGateway(t, conn, "g").change(map[string]string{"s": "ann"})
	cfg := testConfig(conn.ConnectedUrl(), db.URL)
	cfg.ChatAddr, cfg.RPC.Token = listener.Addr().String(), "secret"
	s := startService(t, cfg)
	online.await(time.Time{}, soon, "ann")

	var catalog eventv1.Catalog
	if err := proto.Unmarshal((<-catalogs).Data, &catalog); err != nil || len(catalog.GetPatterns()) != 1 ||
		catalog.GetPatterns()[0] != "client.v1.*.presence.get" || catalog.GetService() != "presence-service" {
		t.Errorf("catalog = %v, %v, want client.v1.*.presence.get", &catalog, err)
	}

	ids := strings.Repeat(`"x",`, 501)
	for _, test := range []struct{ args, want string }{ // an ack, or a fault's code and message
		{`[{"roomId":"room"}]`, `[{"ok":true,"users":[{"userId":"me","online":false,"lastSeen":null},{"userId":"ann","online":true,"lastSeen":null}]}]`},
		{`[{"roomId":"other"}]`, "not_found Room not found"},
		{`[{"roomId":"slow"}]`, "unavailable Presence is unavailable"},
		{`[{"roomId":7}]`, "invalid roomId must be a string"},
		{`[{"roomId":""}]`, "invalid roomId must be 1 to 128 printable characters"},
		{`[{"roomId":"room","userIds":["ann"]}]`, "invalid give userIds or roomId, not both"},
		{`[{"userIds":"ann"}]`, "invalid userIds must be an array of strings"},
		{`[{"userIds":[null]}]`, "invalid userIds must be an array of strings"},
		{`[{"userIds":[""]}]`, "invalid userIds: a user id has 1 to 128 printable characters, and is not system"},
		{`[{"userIds":["\u0000"]}]`, "invalid userIds: a user id has 1 to 128 printable characters, and is not system"},
		{`[{"userIds":[]}]`, "invalid userIds must have 1 to 500 entries"},
		{`[{"userIds":[` + ids + `"x"]}]`, "invalid userIds must have 1 to 500 entries"},
		{`[{}]`, "invalid userIds or roomId is required"},
		{`[null]`, "invalid the argument must be an object with userIds or roomId"},
		{`["ann"]`, "invalid the argument must be an object with userIds or roomId"},
		{``, "invalid the argument must be an object with userIds or roomId"},
		{`{`, "invalid arguments must be a JSON array"},
	} {
		ack, refused := get(t, conn, test.args)
		if refused != nil {
			ack = refused.GetCode() + " " + refused.GetMessage()
		}
		if ack != test.want {
			t.Errorf("presence:get %.40s = %s, want %s", test.args, ack, test.want)
		}
	}

	client, err := rpc.Dial(s.addr, rpc.ClientConfig{Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	for _, test := range []struct {
		scopes []string
		users  []string
		want   fault.Kind
	}{
		{[]string{caller.ScopePresence}, []string{"ann", "zoe"}, ""},
		{nil, []string{"ann"}, fault.Unauthenticated},
		{[]string{caller.ScopeEmit}, []string{"ann"}, fault.Forbidden},
		{[]string{caller.ScopePresence}, nil, fault.Invalid},
	} {
		resp, err := ask(t, client, test.scopes, test.users)
		if got := fault.KindOf(err); got != test.want {
			t.Errorf("GetPresence(%v, %v) = %v, want %q", test.scopes, test.users, err, test.want)
		}
		if err == nil && (!resp.GetUsers()[0].GetOnline() || resp.GetUsers()[1].GetOnline() || resp.GetUsers()[1].LastSeen != nil) {
			t.Errorf("GetPresence = %v, want ann online, zoe never seen", resp)
		}
	}
}

func ask(t *testing.T, conn *grpc.ClientConn, scopes, users []string) (*presencev1.GetPresenceResponse, error) {
	t.Helper()
	md, err := caller.Metadata(nil, scopes, "")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := presencev1.NewPresenceServiceClient(conn).GetPresence(
		metadata.NewOutgoingContext(t.Context(), md), &presencev1.GetPresenceRequest{UserId: users})
	return resp, fault.FromStatus(err)
}
