package presenceservice_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/rpc"
	presenceservice "github.com/starling-chat/starling/presence-service"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// ListRoommates has "me" share a room with ann.
func (fakeChat) ListRoommates(_ context.Context, req *chatv1.ListRoommatesRequest) (*chatv1.ListRoommatesResponse, error) {
	res := &chatv1.ListRoommatesResponse{}
	if req.GetUserId() == "me" && slices.Contains(req.GetCandidateIds(), "ann") {
		res.UserIds = []string{"ann"}
	}
	return res, nil
}

// withChat runs a presence-service of a scope beside a chat-service that knows one room, and gives a connection to it.
func withChat(t *testing.T, conn *nats.Conn, change func(*presenceservice.Config)) *grpc.ClientConn {
	t.Helper()
	db := emptyDatabase(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	chat := rpc.NewServer(rpc.ServerConfig{Listener: listener})
	chatv1.RegisterChatServiceServer(chat.GRPC(), fakeChat{})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- chat.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("chat.Run = %v, want nil", err)
		}
	})
	cfg := testConfig(conn.ConnectedUrl(), db.URL)
	cfg.ChatAddr, cfg.WatchedRoom = listener.Addr().String(), 500
	change(&cfg)
	s := startService(t, cfg)
	client, err := rpc.Dial(s.addr, rpc.ClientConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// watched asks Watch, and says the answer in one line: users with + or -, then those denied.
func watched(t *testing.T, client *grpc.ClientConn, req *presencev1.WatchRequest) string {
	t.Helper()
	var res *presencev1.WatchResponse
	eventually(t, soon, "an answer to Watch", func() bool { // it gathers who is online first
		var err error
		if res, err = presencev1.NewPresenceServiceClient(client).Watch(t.Context(), req); fault.KindOf(fault.FromStatus(err)) == fault.Unavailable {
			return false
		} else if err != nil {
			t.Logf("Watch: %v", err)
			res = nil
		}
		return true
	})
	if res == nil {
		return "refused"
	}
	var words []string
	for _, u := range res.GetUsers() {
		words = append(words, map[bool]string{true: "+", false: "-"}[u.GetOnline()]+u.GetUserId())
	}
	for _, id := range res.GetDeniedUserIds() {
		words = append(words, "denied:"+id)
	}
	if res.GetExpires() {
		words = append(words, "expires")
	}
	return strings.Join(words, " ")
}

// TestWatchFollowsScope: whom one may watch, and ask for, is what PRESENCE_SCOPE says.
func TestWatchFollowsScope(t *testing.T) {
	t.Parallel()
	for scope, want := range map[string]struct{ users, strangers, room, ask, rest string }{
		"everyone": {"+ann +eve -me", "+ann +eve", "-me +ann expires", `"users":[{"userId":"ann","online":true,"lastSeen":null},{"userId":"eve","online":true,"lastSeen":null}]}]`, ""},
		"rooms":    {"+ann -me denied:eve expires", "denied:ann denied:eve expires", "-me +ann expires", `"users":[{"userId":"ann","online":true,"lastSeen":null}],"denied":["eve"]}]`, ""},
		"none":     {"refused", "refused", "refused", "forbidden Presence is turned off here", string(fault.Forbidden)},
	} {
		t.Run(scope, func(t *testing.T) {
			t.Parallel()
			conn := bustest.New(t)
			startGateway(t, conn, "g").change(map[string]string{"s": "ann", "e": "eve"})
			client := withChat(t, conn, func(cfg *presenceservice.Config) { cfg.Scope = scope })
			if scope != "none" { // until the two are there
				eventually(t, soon, "ann is online", func() bool {
					return strings.Contains(watched(t, client, &presencev1.WatchRequest{UserIds: []string{"ann", "eve"}}), "+ann +eve")
				})
			}
			for _, test := range []struct {
				name, want string
				req        *presencev1.WatchRequest
			}{
				{"users", want.users, &presencev1.WatchRequest{AsUserId: "me", UserIds: []string{"ann", "eve", "me"}}},
				{"users of a stranger", want.strangers, &presencev1.WatchRequest{AsUserId: "stranger", UserIds: []string{"ann", "eve"}}},
				{"a room", want.room, &presencev1.WatchRequest{AsUserId: "me", RoomId: "room"}},
				{"a room as a stranger", "refused", &presencev1.WatchRequest{AsUserId: "stranger", RoomId: "room"}},
				{"a room as nobody", "refused", &presencev1.WatchRequest{RoomId: "room"}},
				{"nobody", "refused", &presencev1.WatchRequest{AsUserId: "me"}},
			} {
				if got := watched(t, client, test.req); got != test.want {
					t.Errorf("%s: Watch = %q, want %q", test.name, got, test.want)
				}
			}
			at, err := subject.ClientEvent("/chat", "presence:get")
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, soon, "somebody answers presence:get", func() bool { return bustest.HasSubscriber(t, conn, at) })
			ack, refused := get(t, conn, `[{"userIds":["ann","eve"]}]`)
			if refused != nil {
				ack = refused.GetCode() + " " + refused.GetMessage()
			}
			if !strings.HasSuffix(ack, want.ask) {
				t.Errorf("presence:get = %s, want …%s", ack, want.ask)
			}
			if _, err := ask(t, client, []string{caller.ScopePresence}, []string{"ann"}); string(fault.KindOf(err)) != want.rest {
				t.Errorf("GetPresence = %v, want %q", err, want.rest)
			}
		})
	}
}

// TestWatchRoomIsBounded: a room above MAX_WATCHED_ROOM is refused with a word about it.
func TestWatchRoomIsBounded(t *testing.T) {
	t.Parallel()
	conn := bustest.New(t)
	startGateway(t, conn, "g")
	client := withChat(t, conn, func(cfg *presenceservice.Config) { cfg.WatchedRoom = 1 })
	watched(t, client, &presencev1.WatchRequest{UserIds: []string{"ann"}}) // it answers
	_, err := presencev1.NewPresenceServiceClient(client).Watch(t.Context(), &presencev1.WatchRequest{AsUserId: "me", RoomId: "room"})
	if f := fault.FromStatus(err); fault.KindOf(f) != fault.TooLarge || !strings.Contains(f.Error(), "more than 1 members") {
		t.Errorf("Watch of a room of 2 with a bound of 1 = %v, want too_large with the bound", err)
	}
}

// TestChangesGoToTheirShards: while nobody is listed, a storm of connects is told in the shards of the users alone, each user once, and
// the list only says now and then who leads. With PRESENCE_SCOPE=none nothing is told at all.
func TestChangesGoToTheirShards(t *testing.T) {
	t.Parallel()
	for _, scope := range []string{"rooms", "everyone", "none"} {
		t.Run(scope, func(t *testing.T) {
			t.Parallel()
			conn := bustest.New(t)
			online := watchOnline(t, conn)
			changes := make(chan *nats.Msg, 10_000)
			if _, err := conn.ChanSubscribe(subject.PresenceChanged(subject.UserShard("ann")), changes); err != nil {
				t.Fatal(err)
			}
			all := make(chan *nats.Msg, 100_000)
			if _, err := conn.ChanSubscribe("presence.v1.changed.*", all); err != nil {
				t.Fatal(err)
			}
			g := startGateway(t, conn, "g")
			crowd := map[string]string{}
			for i := range 600 {
				crowd[fmt.Sprint("s", i)] = fmt.Sprint("u", i)
			}
			g.change(crowd)
			withChat(t, conn, func(cfg *presenceservice.Config) { cfg.Scope = scope })
			eventually(t, soon, "a leader", func() bool { return len(online.since(time.Time{})) > 0 })
			came := time.Now()
			g.change(map[string]string{"a": "ann"})
			if scope == "none" {
				eventually(t, soon, "two more lists", func() bool { return len(online.since(came)) > 1 })
				if len(all) > 0 {
					t.Errorf("%d messages tell of changes, want none", len(all))
				}
				return
			}
			want := &eventv1.PresenceChanges{Users: []*eventv1.PresenceChange{{UserId: "ann", Online: true}}}
			if diff := cmp.Diff(said(want), said(await(t, changes, "ann"))); diff != "" {
				t.Errorf("the shard of ann is told (-want +got):\n%s", diff)
			}
			left := time.Now()
			g.change(nil, "a")
			if got := await(t, changes, "ann").GetUsers()[0]; got.GetOnline() || got.GetLastSeen().AsTime().Sub(left).Abs() > soon {
				t.Errorf("the shard of ann is told %v, want that she left just now", got)
			}
			for _, list := range online.since(came) {
				if len(list.users) > 0 || (list.count > 0) != (scope == "everyone") {
					t.Errorf("the list names %d users and counts %d, want nobody by name", len(list.users), list.count)
				}
			}
			told := map[string]int{}
			for range len(all) {
				var c eventv1.PresenceChanges
				if err := proto.Unmarshal((<-all).Data, &c); err != nil {
					t.Fatal(err)
				}
				for _, u := range c.GetUsers() {
					told[u.GetUserId()]++
				}
			}
			for user, n := range told {
				if user != "ann" && n != 1 {
					t.Errorf("%s is told %d times, want once", user, n)
				}
			}
		})
	}
}

// await gives the next message of a shard that tells of a user.
func await(t *testing.T, changes <-chan *nats.Msg, user string) *eventv1.PresenceChanges {
	t.Helper()
	deadline := time.After(soon)
	for {
		select {
		case m := <-changes:
			c := new(eventv1.PresenceChanges)
			if err := proto.Unmarshal(m.Data, c); err != nil {
				t.Fatal(err)
			}
			c.Users = slices.DeleteFunc(c.Users, func(u *eventv1.PresenceChange) bool { return u.GetUserId() != user })
			if len(c.Users) > 0 {
				return c
			}
		case <-deadline:
			t.Fatalf("nothing is told of %s", user)
		}
	}
}

func said(c *eventv1.PresenceChanges) []string {
	var words []string
	for _, u := range c.GetUsers() {
		words = append(words, fmt.Sprint(u.GetUserId(), u.GetOnline(), u.GetLastSeen()))
	}
	return words
}
