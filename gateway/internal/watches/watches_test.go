package watches

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// answers is presence-service as a gateway asks it.
type answers struct {
	mu      sync.Mutex // guards what follows
	online  map[string]bool
	denied  map[string]bool     // nobody may watch them
	rooms   map[string][]string // members
	expires bool
	fails   error
	asked   []*presencev1.WatchRequest
	// during, where set, is called while a question is under way.
	during func(*presencev1.WatchRequest)
}

func newAnswers() *answers {
	return &answers{online: map[string]bool{}, denied: map[string]bool{}, rooms: map[string][]string{}}
}

func (a *answers) Watch(_ context.Context, r *presencev1.WatchRequest, _ ...grpc.CallOption) (*presencev1.WatchResponse, error) {
	a.mu.Lock()
	during := a.during
	a.asked = append(a.asked, r)
	res, err := a.answerLocked(r)
	a.mu.Unlock()
	if during != nil {
		during(r)
	}
	return res, err
}

func (a *answers) answerLocked(r *presencev1.WatchRequest) (*presencev1.WatchResponse, error) {
	ids := r.GetUserIds()
	if room := r.GetRoomId(); room != "" {
		ids = a.rooms[room]
		if !slices.Contains(ids, r.GetAsUserId()) {
			return nil, fault.New(fault.Forbidden, "Not a member of this room")
		}
	}
	if a.fails != nil {
		return nil, a.fails
	}
	res := &presencev1.WatchResponse{Expires: a.expires}
	for _, id := range ids {
		if a.denied[id] && r.GetAsUserId() != "" && r.GetRoomId() == "" {
			res.DeniedUserIds = append(res.DeniedUserIds, id)
			continue
		}
		res.Users = append(res.Users, &presencev1.UserPresence{UserId: id, Online: a.online[id]})
	}
	return res, nil
}

func (a *answers) set(f func(a *answers)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a)
}

// world is the watches of a gateway, with a broker and a presence-service. Tests call what Run would.
type world struct {
	watches *Watches
	sockets *sessiontest.Sockets
	service *nats.Conn
	answers *answers // of presence-service
}

func newWorld(t *testing.T) *world {
	t.Helper()
	broker := bustest.Server(t)
	w := &world{answers: newAnswers(), sockets: sessiontest.NewSockets(t), service: bustest.Connect(t, broker)}
	w.watches = New(Config{Most: 1000}, w.answers, bustest.Connect(t, broker), sessiontest.Stats(), slog.New(slog.DiscardHandler))
	return w
}

// spectator is a client that may watch.
type spectator struct {
	t      *testing.T
	w      *world
	client *sessiontest.Conn
	place  *Place
	req    Request
	rooms  map[string]bool
}

func (w *world) spectator(t *testing.T, user string, rooms ...string) *spectator {
	t.Helper()
	s, client := w.sockets.New(t, "/chat", user)
	p := &spectator{t: t, w: w, client: client, place: new(Place), rooms: map[string]bool{}}
	for _, room := range rooms {
		p.rooms[room] = true
	}
	p.req = Request{Socket: s, Place: p.place, Joined: func(room string) bool { return p.rooms[room] }, Ack: func(args []byte) {
		client.Queue(mustAck(t, args))
		client.Flush()
	}}
	return p
}

// mustAck is the answer with the id 1.
func mustAck(t *testing.T, args []byte) *transport.Message {
	t.Helper()
	m, err := session.AckMessage("/chat", 1, args, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// does sends a client event, and gives the fault's kind.
func (p *spectator) does(event, args string) fault.Kind {
	p.t.Helper()
	r := p.req
	r.Event, r.Args = event, []byte(args)
	return fault.KindOf(p.w.watches.Watch(p.t.Context(), r))
}

// gets takes what the client has got since the last time.
func (p *spectator) gets(want ...string) {
	p.t.Helper()
	var got []string
	for _, packet := range p.client.Packets() {
		got = append(got, strings.TrimPrefix(strings.TrimPrefix(packet, "42/chat,"), "43/chat,"))
	}
	p.client.Forget()
	if !slices.Equal(got, want) {
		p.t.Errorf("the client of %s got %q, want %q", p.req.Socket.UserID, got, want)
	}
}

// change is told by the leading presence-service to the shard of a user.
func (w *world) change(t *testing.T, user string, online bool, seen time.Time) {
	t.Helper()
	c := &eventv1.PresenceChange{UserId: user, Online: online}
	if !seen.IsZero() {
		c.LastSeen = timestamppb.New(seen)
	}
	raw, err := proto.Marshal(&eventv1.PresenceChanges{Users: []*eventv1.PresenceChange{{UserId: "x" + user, Online: true}, c}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.service.Publish(subject.PresenceChanged(subject.UserShard(user)), raw); err != nil {
		t.Fatal(err)
	}
	if err := w.service.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := w.watches.nc.Flush(); err != nil { // what the server had for the gateway is there
		t.Fatal(err)
	}
	for {
		select {
		case m := <-w.watches.graph.heard:
			w.watches.changesHeard(m.Data)
		default:
			return
		}
	}
}

// heardShards counts the shards that the gateway hears.
func (w *world) heardShards() (n int) {
	for i := range w.watches.graph.shards {
		if w.watches.graph.shards[i].sub != nil {
			n++
		}
	}
	return n
}

const ackEmpty = `1[{"ok":true,"users":[]}]`

// TestWatchUsers: a socket hears of those whom it watches, once a round, and of nobody else; the next watch replaces the one before.
func TestWatchUsers(t *testing.T) {
	w := newWorld(t)
	a, idle := w.spectator(t, "ann"), w.spectator(t, "idle")
	w.answers.set(func(a *answers) { a.online["bob"], a.denied["eve"] = true, true })
	if kind := a.does(EventWatch, `[{"userIds":["bob","cid","eve","bob"]}]`); kind != "" {
		t.Fatalf("watch = %s", kind)
	}
	a.gets(`1[{"ok":true,"users":[{"userId":"bob","online":true,"lastSeen":null},{"userId":"cid","online":false,"lastSeen":null}],"denied":["eve"]}]`)
	w.watches.deliver()
	a.gets()
	w.change(t, "bob", false, time.UnixMilli(1_700_000_000_000))
	w.change(t, "cid", true, time.Time{})
	w.change(t, "cid", false, time.UnixMilli(1_700_000_000_001))
	w.change(t, "bob", true, time.Time{})
	w.change(t, "bob", false, time.UnixMilli(1_700_000_000_002))
	w.change(t, "eve", true, time.Time{})
	a.gets() // not before the round
	w.watches.deliver()
	got := a.client.Packets()
	a.client.Forget()
	if len(got) != 1 || !strings.HasPrefix(got[0], `42/chat,["presence:changed",{"users":[`) || strings.Contains(got[0], "eve") ||
		!strings.Contains(got[0], `{"userId":"bob","online":false,"lastSeen":"2023-11-14T22:13:20.002Z"}`) {
		t.Errorf("a round brought %q, want one presence:changed with the last of bob and nothing of eve", got)
	}
	w.watches.deliver()
	a.gets()

	if kind := a.does(EventWatch, `[{"userIds":["cid"]}]`); kind != "" {
		t.Fatalf("watch = %s", kind)
	}
	a.gets(`1[{"ok":true,"users":[{"userId":"cid","online":false,"lastSeen":null}]}]`)
	w.change(t, "bob", true, time.Time{})
	w.watches.deliver()
	a.gets()
	if n := w.heardShards(); n != 1 {
		t.Errorf("%d shards are heard while one user is watched, want 1", n)
	}
	if kind := a.does(EventWatch, `[{"userIds":[]}]`); kind != "" || w.heardShards() != 0 {
		t.Errorf("watch of nobody = %s, %d shards heard, want none", kind, w.heardShards())
	}
	a.gets(ackEmpty)
	idle.gets()
}

// TestWatchIsAsked: nothing is sent of a user before it is clear that one may watch it; what changed meanwhile follows the answer; a
// question that fails changes nothing.
func TestWatchIsAsked(t *testing.T) {
	w := newWorld(t)
	a := w.spectator(t, "ann")
	w.answers.set(func(s *answers) {
		s.denied["eve"] = true
		s.during = func(*presencev1.WatchRequest) {
			w.change(t, "eve", true, time.Time{})
			w.change(t, "bob", true, time.Time{}) // the answer is from before it
			w.watches.deliver()
			a.gets()
		}
	})
	if kind := a.does(EventWatch, `[{"userIds":["bob","eve"]}]`); kind != "" {
		t.Fatalf("watch = %s", kind)
	}
	w.watches.deliver()
	a.gets(`1[{"ok":true,"users":[{"userId":"bob","online":false,"lastSeen":null}],"denied":["eve"]}]`,
		`["presence:changed",{"users":[{"userId":"bob","online":true}]}]`)
	w.answers.set(func(s *answers) { s.during, s.fails = nil, fault.New(fault.Unavailable, "Presence is unavailable") })
	if kind := a.does(EventWatch, `[{"userIds":["cid"]}]`); kind != fault.Unavailable {
		t.Errorf("watch without an answer = %q, want unavailable", kind)
	}
	w.change(t, "cid", true, time.Time{})
	w.change(t, "bob", false, time.Time{})
	w.watches.deliver()
	a.gets(`["presence:changed",{"users":[{"userId":"bob","online":false}]}]`)
}

// TestWatchEnds: with the socket its watches end, also one that is being asked for.
func TestWatchEnds(t *testing.T) {
	w := newWorld(t)
	w.answers.set(func(s *answers) { s.rooms["r"] = []string{"ann", "bob"} })
	a := w.spectator(t, "ann", "r")
	for event, args := range map[string]string{EventWatch: `[{"userIds":["bob","cid"]}]`, EventWatchRoom: `["r"]`} {
		if kind := a.does(event, args); kind != "" {
			t.Fatalf("%s = %s", event, kind)
		}
	}
	w.answers.set(func(s *answers) { s.during = func(*presencev1.WatchRequest) { w.watches.End(a.place) } })
	if kind := a.does(EventWatch, `[{"userIds":["dan"]}]`); kind != fault.Unavailable {
		t.Errorf("watch of a socket that ends = %q, want unavailable", kind)
	}
	if kind := a.does(EventWatch, `[{"userIds":["dan"]}]`); kind != fault.Unavailable {
		t.Errorf("watch of a socket that has ended = %q, want unavailable", kind)
	}
	if users, rooms := w.watches.graph.watched(); len(users)+len(rooms)+w.heardShards()+w.watches.graph.links != 0 {
		t.Errorf("after the end %v and %v are watched, %d shards heard, %d links, want none", users, rooms, w.heardShards(), w.watches.graph.links)
	}
}

// TestWatchRoom: a socket in a room hears of its members, also of those who come later, until it leaves.
func TestWatchRoom(t *testing.T) {
	w := newWorld(t)
	w.answers.set(func(s *answers) { s.rooms["r"], s.online["bob"] = []string{"ann", "bob", "cid"}, true })
	a, b, out := w.spectator(t, "ann", "r"), w.spectator(t, "bob", "r"), w.spectator(t, "cid")
	if kind := out.does(EventWatchRoom, `["r"]`); kind != fault.Forbidden {
		t.Errorf("watch-room of a socket outside = %q, want forbidden", kind)
	}
	for _, s := range []*spectator{a, b} {
		if kind := s.does(EventWatchRoom, `[{"roomId":"r"}]`); kind != "" {
			t.Fatalf("watch-room = %s", kind)
		}
		s.gets(`1[{"ok":true,"roomId":"r","users":[{"userId":"ann","online":false,"lastSeen":null},{"userId":"bob","online":true,"lastSeen":null},{"userId":"cid","online":false,"lastSeen":null}]}]`)
	}
	w.change(t, "cid", true, time.Time{})
	w.watches.deliver()
	cid := `["presence:changed",{"users":[{"userId":"cid","online":true}]}]`
	a.gets(cid)
	b.gets(cid)
	out.gets()

	// Who watches a user twice hears of it once.
	if kind := a.does(EventWatch, `[{"userIds":["cid"]}]`); kind != "" {
		t.Fatalf("watch = %s", kind)
	}
	a.client.Forget()
	w.change(t, "cid", false, time.Time{})
	w.watches.deliver()
	cid = `["presence:changed",{"users":[{"userId":"cid","online":false}]}]`
	a.gets(cid)
	b.gets(cid)

	// A member comes, another goes: the renewal brings it.
	w.answers.set(func(s *answers) { s.rooms["r"], s.online["dan"] = []string{"ann", "bob", "dan"}, true })
	if err := w.watches.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.watches.deliver()
	b.gets(`["presence:changed",{"users":[{"userId":"dan","online":true}]}]`)
	a.client.Forget()
	w.change(t, "cid", true, time.Time{})
	w.watches.deliver()
	b.gets()
	a.gets(`["presence:changed",{"users":[{"userId":"cid","online":true}]}]`)

	w.change(t, "dan", false, time.Time{})
	w.watches.LeftRoom(b.place, "r")
	w.watches.deliver()
	b.gets()
	a.gets(`["presence:changed",{"users":[{"userId":"dan","online":false}]}]`)
	if kind := a.does(EventUnwatchRoom, `["r"]`); kind != "" {
		t.Errorf("unwatch-room = %s", kind)
	}
	a.gets(`1[{"ok":true}]`)
	if _, rooms := w.watches.graph.watched(); len(rooms) != 0 {
		t.Errorf("%v are watched by nobody, want none", rooms)
	}
}

// TestWatchRoomLeftMeanwhile: a socket that is put out of a room while presence-service is asked hears nothing of it.
func TestWatchRoomLeftMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.answers.set(func(s *answers) { s.rooms["r"] = []string{"ann", "bob"} })
	a := w.spectator(t, "ann", "r")
	w.answers.set(func(s *answers) {
		s.during = func(*presencev1.WatchRequest) { delete(a.rooms, "r"); w.watches.LeftRoom(a.place, "r") }
	})
	if kind := a.does(EventWatchRoom, `["r"]`); kind != fault.Forbidden {
		t.Errorf("watch-room = %q, want forbidden", kind)
	}
	a.gets() // not even who is there
	w.change(t, "bob", true, time.Time{})
	w.watches.deliver()
	a.gets()
}

// TestWatchedRoomsWaitForEvictions: while a gateway that was cut off has not caught up with its rooms, nobody hears of their members who may have
// been put out meanwhile. Users who are watched by their ids do not wait.
func TestWatchedRoomsWaitForEvictions(t *testing.T) {
	w := newWorld(t)
	behind := false
	w.watches.behind = func() bool { return behind }
	w.answers.set(func(s *answers) { s.rooms["r"] = []string{"ann", "bob", "cid"} })
	a, b := w.spectator(t, "ann", "r"), w.spectator(t, "bob", "r")
	for _, s := range []*spectator{a, b} {
		if kind := s.does(EventWatchRoom, `["r"]`); kind != "" {
			t.Fatal(kind)
		}
		s.client.Forget()
	}
	if kind := b.does(EventWatch, `[{"userIds":["dan"]}]`); kind != "" {
		t.Fatal(kind)
	}
	b.client.Forget()
	behind = true
	w.change(t, "cid", true, time.Time{})
	w.change(t, "dan", true, time.Time{})
	w.watches.deliver()
	a.gets()
	b.gets(`["presence:changed",{"users":[{"userId":"dan","online":true}]}]`)
	delete(a.rooms, "r") // it turns out that ann was put out
	w.watches.LeftRoom(a.place, "r")
	behind = false
	w.watches.deliver()
	a.gets()
	b.gets(`["presence:changed",{"users":[{"userId":"cid","online":true}]}]`)
}

// TestWatchFindsWhatWasMissed: a change that did not come is found by the next renewal, and told.
func TestWatchFindsWhatWasMissed(t *testing.T) {
	w := newWorld(t)
	a := w.spectator(t, "ann")
	if kind := a.does(EventWatch, `[{"userIds":["bob"]}]`); kind != "" {
		t.Fatalf("watch = %s", kind)
	}
	a.client.Forget()
	w.answers.set(func(s *answers) { s.online["bob"] = true })
	if err := w.watches.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.watches.deliver()
	a.gets(`["presence:changed",{"users":[{"userId":"bob","online":true}]}]`)
}

// TestWatchFollowsAccess: a grant that depends on rooms is asked for again after its time, and when the socket leaves a room; who may
// no longer watch hears no more.
func TestWatchFollowsAccess(t *testing.T) {
	w := newWorld(t)
	w.answers.set(func(s *answers) { s.expires = true })
	a := w.spectator(t, "ann", "r")
	watch := func() {
		t.Helper()
		w.answers.set(func(s *answers) { s.denied["bob"] = false })
		if kind := a.does(EventWatch, `[{"userIds":["bob","cid"]}]`); kind != "" {
			t.Fatalf("watch = %s", kind)
		}
		a.client.Forget()
		w.answers.set(func(s *answers) { s.denied["bob"] = true })
	}
	online := false
	hears := func(users ...string) {
		t.Helper()
		online = !online
		w.change(t, "bob", online, time.Time{})
		w.change(t, "cid", online, time.Time{})
		w.watches.deliver()
		got := strings.Join(a.client.Packets(), "")
		a.client.Forget()
		for _, user := range []string{"bob", "cid"} {
			if strings.Contains(got, user) != slices.Contains(users, user) {
				t.Errorf("the client hears %q, want of %q", got, users)
			}
		}
	}
	watch()
	if err := w.watches.checkGrants(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	hears("bob", "cid") // its time has not come
	if err := w.watches.checkGrants(t.Context(), time.Now().Add(grantLife+time.Second)); err != nil {
		t.Fatal(err)
	}
	hears("cid")
	watch()
	w.watches.LeftRoom(a.place, "r")
	if len(w.watches.checks) != 1 {
		t.Error("a socket that left a room is not checked soon")
	}
	if err := w.watches.checkGrants(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	hears("cid")
}

// TestWatchBounds: arguments, the users of a socket, and all watches have bounds with a word each.
func TestWatchBounds(t *testing.T) {
	w := newWorld(t)
	w.answers.set(func(s *answers) { s.rooms["r"] = []string{"ann", "bob"} })
	a := w.spectator(t, "ann", "r")
	many := func(n int) string {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprintf("%q", fmt.Sprint("u", i))
		}
		return `[{"userIds":[` + strings.Join(ids, ",") + `]}]`
	}
	for _, test := range []struct {
		event, args string
		want        fault.Kind
	}{
		{EventWatch, `[]`, fault.Invalid},
		{EventWatch, `[null]`, fault.Invalid},
		{EventWatch, `["bob"]`, fault.Invalid},
		{EventWatch, `[{}]`, fault.Invalid},
		{EventWatch, `[{"userIds":"bob"}]`, fault.Invalid},
		{EventWatch, `[{"userIds":[1]}]`, fault.Invalid},
		{EventWatch, `[{"userIds":[""]}]`, fault.Invalid},
		{EventWatch, `[{"userIds":["system"]}]`, fault.Invalid},
		{EventWatch, many(maxWatched + 1), fault.TooLarge},
		{EventWatch, many(maxWatched), ""},
		{EventWatch, many(maxWatched - 1), ""},
		{EventWatchRoom, `[]`, fault.Invalid},
		{EventWatchRoom, `[7]`, fault.Invalid},
		{EventWatchRoom, `[{"roomId":""}]`, fault.Invalid},
		{EventWatchRoom, `["other"]`, fault.Forbidden},
		{EventWatchRoom, `["r"]`, ""},
		{EventUnwatchRoom, `[{}]`, fault.Invalid},
		{EventUnwatchRoom, `["other"]`, ""},
	} {
		if got := a.does(test.event, test.args); got != test.want {
			t.Errorf("%s %.40s = %q, want %q", test.event, test.args, got, test.want)
		}
	}
	b := w.spectator(t, "bob", "r")
	if got := b.does(EventWatch, many(maxWatched)); got != fault.Unavailable {
		t.Errorf("watch beyond the bound of the gateway = %q, want unavailable", got)
	}
	if got := b.does(EventWatch, many(10)); got != "" {
		t.Errorf("watch below the bound of the gateway = %q, want ok", got)
	}
}

// TestManyChangesComeInRounds: what does not fit into one presence:changed comes with the next.
func TestManyChangesComeInRounds(t *testing.T) {
	w := newWorld(t)
	members := []string{"ann"}
	for i := range maxDelivered + 10 {
		members = append(members, fmt.Sprint("u", i))
	}
	w.answers.set(func(s *answers) { s.rooms["r"] = members })
	w.watches.graph.most = 10_000
	a := w.spectator(t, "ann", "r")
	if kind := a.does(EventWatchRoom, `["r"]`); kind != "" {
		t.Fatalf("watch-room = %s", kind)
	}
	a.client.Forget()
	w.answers.set(func(s *answers) {
		for _, id := range members {
			s.online[id] = true
		}
	})
	if err := w.watches.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, want := range []int{maxDelivered, len(members) - maxDelivered, 0} {
		w.watches.deliver()
		n := strings.Count(strings.Join(a.client.Packets(), ""), "userId")
		a.client.Forget()
		if told += n; n != want {
			t.Errorf("a round tells of %d users, want %d", n, want)
		}
	}
}
