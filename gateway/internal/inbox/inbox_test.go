package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// chat is chat-service as a gateway asks it.
type chat struct {
	mu    sync.Mutex          // guards what follows
	rooms map[string][]string // of a user, in order
	heads map[string]uint64
	fails error
	asked int
	// during and between, where set, are called before an answer is given, of ListInbox behind what it answers, and of GetHeads before.
	during, between func()
}

func (c *chat) ListInbox(_ context.Context, r *chatv1.ListInboxRequest, _ ...grpc.CallOption) (*chatv1.ListInboxResponse, error) {
	c.mu.Lock()
	during := c.during
	c.during = nil
	c.asked++
	res, err := &chatv1.ListInboxResponse{}, c.fails
	for i, id := range c.rooms[r.GetUserId()] {
		if i == int(r.GetLimit()) {
			break
		}
		room := &chatv1.InboxRoom{RoomId: id, Seq: c.heads[id]}
		if !r.GetState() {
			room.Activity = args(id, c.heads[id])
		}
		res.Rooms = append(res.Rooms, room)
	}
	if r.GetState() {
		res.State = fmt.Appendf(nil, "[%q]", strings.Join(c.rooms[r.GetUserId()], ","))
	}
	c.mu.Unlock()
	if during != nil {
		during()
	}
	return res, err
}

func (c *chat) GetHeads(_ context.Context, r *chatv1.GetHeadsRequest, _ ...grpc.CallOption) (*chatv1.GetHeadsResponse, error) {
	c.mu.Lock()
	between := c.between
	c.between = nil
	c.mu.Unlock()
	if between != nil {
		between()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	res := &chatv1.GetHeadsResponse{Heads: map[string]uint64{}}
	for _, id := range r.GetRoomIds() {
		res.Heads[id] = c.heads[id]
	}
	return res, c.fails
}

func (c *chat) set(f func(c *chat)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func args(room string, seq uint64) []byte {
	return fmt.Appendf(nil, `[{"roomId":%q,"seq":%d}]`, room, seq)
}

// world is the inboxes of a gateway with a broker and a chat-service.
type world struct {
	inbox    *Inbox
	registry *hub.Registry
	sockets  *sessiontest.Sockets
	service  *nats.Conn
	chat     *chat
}

func newWorld(t *testing.T, cfg Config) *world {
	t.Helper()
	broker := bustest.Server(t)
	w := &world{
		registry: hub.NewRegistry(), sockets: sessiontest.NewSockets(t), service: bustest.Connect(t, broker),
		chat: &chat{rooms: map[string][]string{}, heads: map[string]uint64{}},
	}
	w.inbox = New(cfg, w.chat, w.registry, bustest.Connect(t, broker), sessiontest.Stats(), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = w.inbox.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

func usual() Config { return Config{Rooms: 200, Most: 1000} }

// device is a client of a user.
type device struct {
	t      *testing.T
	w      *world
	socket *session.Socket
	conn   *sessiontest.Conn

	mu     sync.Mutex // guards what follows
	joined map[string]bool
	gone   bool
}

func (d *device) InRoom(room string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.joined[room]
}

func (d *device) Opens() []*eventv1.RoomGrant { return nil }

func (d *device) Gone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}

// device has a client of a user come in, whose inbox is filled when it is there.
func (w *world) device(t *testing.T, user string) *device {
	t.Helper()
	d := w.stranger(t, user)
	w.inbox.Open(d.socket, d)
	d.sees(0, "42[\"inbox:state\"")
	d.settled()
	return d
}

// stranger is a client without an inbox.
func (w *world) stranger(t *testing.T, user string) *device {
	t.Helper()
	d := &device{t: t, w: w, joined: map[string]bool{}}
	d.socket, d.conn = w.sockets.New(t, "/", user)
	w.registry.Add(d.socket)
	return d
}

// settled waits until nothing is being asked for any client.
func (d *device) settled() {
	d.t.Helper()
	sessiontest.Eventually(d.t, func() bool {
		d.w.inbox.mu.Lock()
		defer d.w.inbox.mu.Unlock()
		m := d.w.inbox.sockets[d.socket]
		return m == nil || !m.queued
	}, func() string { return "an inbox is not filled" })
}

// sees waits for a packet behind some that begins so.
func (d *device) sees(behind int, prefix string) {
	d.t.Helper()
	sessiontest.Eventually(d.t, func() bool {
		for i, p := range d.conn.Packets() {
			if i >= behind && strings.HasPrefix(p, prefix) {
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprintf("%q, want one behind %d with %q", d.conn.Packets(), behind, prefix) })
}

// has compares all packets so far.
func (d *device) has(want ...string) {
	d.t.Helper()
	if got := strings.Join(d.conn.Packets(), " "); got != strings.Join(want, " ") {
		d.t.Errorf("a client of %s has got %s, want %s", d.socket.UserID, got, strings.Join(want, " "))
	}
}

func state(rooms string) string { return fmt.Sprintf(`42["inbox:state",%q]`, rooms) }

func activity(room string, seq uint64) string {
	return `42["room:activity",` + strings.Trim(string(args(room, seq)), "[]") + `]`
}

// publish tells how a room stands, as chat-service does.
func (w *world) publish(t *testing.T, room string, seq uint64) {
	t.Helper()
	raw, err := proto.Marshal(&eventv1.ActivityBatch{Rooms: []*eventv1.RoomActivity{{RoomId: room, Seq: seq, Args: args(room, seq)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.service.Publish(subject.Activity(subject.RoomShard(room)), raw); err != nil {
		t.Fatal(err)
	}
}

// TestMembersHear: who has a room in its inbox and has not joined it hears of it, and nobody else.
func TestMembersHear(t *testing.T) {
	w := newWorld(t, usual())
	w.chat.rooms = map[string][]string{"ann": {"a", "b"}, "bob": {"b"}}
	ann, second, bob, without := w.device(t, "ann"), w.device(t, "ann"), w.device(t, "bob"), w.stranger(t, "ann")
	second.joined["a"] = true
	w.publish(t, "a", 1)
	w.publish(t, "b", 1)
	w.publish(t, "c", 1)
	for _, d := range []*device{ann, second, bob} {
		d.sees(0, activity("b", 1))
	}
	ann.sees(0, activity("a", 1))
	second.has(state("a,b"), activity("b", 1))
	bob.has(state("b"), activity("b", 1))
	without.has()
}

// TestFolded: a busy room is told once in a while, by how it stands then; what is old is not told.
func TestFolded(t *testing.T) {
	w := newWorld(t, usual())
	w.chat.rooms["ann"] = []string{"a"}
	ann := w.device(t, "ann")
	for seq := range uint64(50) {
		w.publish(t, "a", seq+1)
	}
	w.publish(t, "a", 3)
	ann.sees(0, activity("a", 50))
	packets := ann.conn.Packets()
	if len(packets) > 25 { // a second apart
		t.Errorf("50 messages are told in %q, want a few", packets)
	}
	w.publish(t, "a", 50)
	w.publish(t, "a", 51)
	ann.sees(0, activity("a", 51))
	if got := ann.conn.Packets(); got[len(got)-1] != activity("a", 51) || strings.Count(strings.Join(got, " "), activity("a", 50)) != 1 {
		t.Errorf("packets = %q, want none twice", got)
	}
}

// TestBetween: what happens between the question and the subscription is told, and so is what a socket misses while its rooms are asked for.
func TestBetween(t *testing.T) {
	w := newWorld(t, usual())
	w.chat.rooms["ann"] = []string{"a", "b"}
	w.chat.heads["a"], w.chat.heads["b"] = 3, 3
	w.chat.between = func() { w.chat.set(func(c *chat) { c.heads["b"] = 4 }) }
	w.device(t, "ann").has(state("a,b"), activity("b", 4))
}

// TestRoomsChange: a room that is added to a user is told as it stands, and of one that was removed nothing is told any more.
func TestRoomsChange(t *testing.T) {
	w := newWorld(t, usual())
	w.chat.rooms["ann"] = []string{"a", "b"}
	ann := w.device(t, "ann")
	w.chat.set(func(c *chat) { c.rooms["ann"], c.heads["c"] = []string{"c", "b"}, 7 })
	log := func(event, args string) []*eventv1.RoomEvent {
		return []*eventv1.RoomEvent{{Emit: &eventv1.Emit{Event: "me:marker"}}, {Emit: &eventv1.Emit{Event: event, Args: []byte(args)}}}
	}
	w.inbox.Heard("ann", log("me:room-removed", `[{"useq":4,"roomId":"a"}]`))
	w.publish(t, "a", 8) // at once
	w.inbox.Heard("ann", log("me:room-added", `[{"useq":5,"room":{"roomId":"c"}}]`))
	ann.sees(0, activity("c", 7))
	ann.settled()
	w.publish(t, "c", 8)
	w.publish(t, "b", 1)
	ann.sees(0, activity("c", 8))
	ann.sees(0, activity("b", 1))
	for _, p := range ann.conn.Packets() {
		if strings.Contains(p, `"roomId":"a"`) {
			t.Errorf("a room that was removed is told: %q", ann.conn.Packets())
		}
	}
	w.inbox.Heard("ann", log("me:mention", `[{}]`))
	ann.settled()
	w.chat.set(func(c *chat) {
		if c.asked != 3 && c.asked != 2 {
			t.Errorf("chat-service was asked %d times, want once and once or twice for the change", c.asked)
		}
	})
}

// TestEvicted: when an eviction is confirmed nothing more comes of the room, also not what was being asked for.
func TestEvicted(t *testing.T) {
	w := newWorld(t, usual())
	w.chat.rooms = map[string][]string{"ann": {"a"}, "bob": {"a"}}
	ann, bob := w.device(t, "ann"), w.device(t, "bob")
	w.inbox.Evict("a", []string{"ann"})
	w.publish(t, "a", 1)
	bob.sees(0, activity("a", 1))
	ann.has(state("a"))

	late := w.stranger(t, "ann")
	w.chat.set(func(c *chat) {
		c.during = func() { // what is answered is from before the eviction
			w.chat.set(func(c *chat) { c.rooms["ann"] = nil })
			w.inbox.Evict("a", []string{"ann"})
		}
	})
	w.inbox.Open(late.socket, late)
	late.sees(0, state(""))
	w.publish(t, "a", 2)
	bob.sees(0, activity("a", 2))
	late.has(state(""))
}

// TestBusAway: what was missed while the bus was away comes with the state, and nothing before it.
func TestBusAway(t *testing.T) {
	w := newWorld(t, usual())
	w.chat.rooms["ann"] = []string{"a"}
	ann := w.device(t, "ann")
	w.inbox.Lost()
	w.publish(t, "a", 1)
	w.chat.set(func(c *chat) { c.rooms["ann"] = []string{"b"} })
	w.inbox.Missed("ann") // waits until the bus is back
	w.inbox.Resync()
	ann.sees(1, state("b"))
	ann.settled()
	w.publish(t, "a", 2)
	w.publish(t, "b", 1)
	ann.sees(1, activity("b", 1))
	if got := strings.Join(ann.conn.Packets(), " "); strings.Contains(got, "room:activity\",{\"roomId\":\"a\"") {
		t.Errorf("packets = %s, want nothing of the room that was lost meanwhile", got)
	}
}

// TestFailures: who cannot be asked for is asked for again; a chat-service of an older release ends it.
func TestFailures(t *testing.T) {
	w := newWorld(t, usual())
	w.chat.rooms["ann"] = []string{"a"}
	w.chat.fails = fault.New(fault.Unavailable, "starting")
	ann := w.stranger(t, "ann")
	w.inbox.Open(ann.socket, ann)
	sessiontest.Eventually(t, func() bool {
		w.chat.mu.Lock()
		defer w.chat.mu.Unlock()
		return w.chat.asked >= 2
	}, func() string { return "not asked again" })
	w.chat.set(func(c *chat) { c.fails = nil })
	ann.sees(0, state("a"))
	ann.settled()

	w.chat.set(func(c *chat) { c.fails = status.Error(codes.Unimplemented, "unknown method") })
	old := w.stranger(t, "ann")
	w.inbox.Open(old.socket, old)
	sessiontest.Eventually(t, func() bool { return w.inbox.open.Load() == 1 }, func() string { return "the inbox does not end" })
}

// TestBounds: a socket has some rooms, and all of them together have some.
func TestBounds(t *testing.T) {
	w := newWorld(t, Config{Rooms: 2, Most: 3})
	w.chat.rooms = map[string][]string{"ann": {"a", "b", "c"}, "bob": {"a", "d"}}
	ann, bob := w.device(t, "ann"), w.device(t, "bob")
	for _, room := range []string{"a", "b", "c", "d"} {
		w.publish(t, room, 1)
	}
	ann.sees(0, activity("a", 1))
	ann.sees(0, activity("b", 1))
	bob.sees(0, activity("a", 1))
	ann.settled()
	for _, d := range []*device{ann, bob} {
		for _, p := range d.conn.Packets() {
			if strings.Contains(p, `"roomId":"c"`) || strings.Contains(p, `"roomId":"d"`) {
				t.Errorf("a room beyond the bound is told: %q", d.conn.Packets())
			}
		}
	}
	off := newWorld(t, Config{Most: 3})
	d := off.stranger(t, "ann")
	off.inbox.Open(d.socket, d)
	if n := off.inbox.open.Load(); n != 0 {
		t.Errorf("%d inboxes where they are turned off, want 0", n)
	}
}

// TestNothingIsLeft: when the sockets have ended nothing is kept, and no shard is heard.
func TestNothingIsLeft(t *testing.T) {
	w := newWorld(t, usual())
	var devices []*device
	for i := range 20 {
		user := fmt.Sprint("u", i)
		for j := range 10 {
			w.chat.set(func(c *chat) { c.rooms[user] = append(c.rooms[user], fmt.Sprint("r", i%3, "-", j)) })
		}
		w.chat.set(func(c *chat) { c.rooms[user] = append(c.rooms[user], user) })
	}
	for i := range 20 {
		devices = append(devices, w.device(t, fmt.Sprint("u", i)))
	}
	late := w.stranger(t, "u1")
	late.gone = true
	w.inbox.Close(late.socket)
	w.inbox.Open(late.socket, late) // it ended meanwhile
	for _, d := range devices {
		w.inbox.Close(d.socket)
		w.inbox.Close(d.socket)
	}
	b := w.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sockets)+len(b.rooms)+len(b.waiting)+b.links != 0 || b.open.Load() != 0 {
		t.Errorf("%d sockets, %d rooms, %d waiting, %d links, %d open are left, want none", len(b.sockets), len(b.rooms), len(b.waiting), b.links, b.open.Load())
	}
	for n, sh := range b.shards {
		if sh.rooms != 0 || sh.sub != nil {
			t.Errorf("shard %d is heard for %d rooms, want none", n, sh.rooms)
		}
	}
}

// TestSlowSocket: who cannot take what it is told gets the state again when it can.
func TestSlowSocket(t *testing.T) {
	w := newWorld(t, usual())
	w.chat.rooms["ann"] = []string{"a"}
	ann := w.device(t, "ann")
	misses := func(seq uint64) {
		ann.conn.Full.Store(true)
		w.publish(t, "a", seq)
		sessiontest.Eventually(t, func() bool {
			w.inbox.mu.Lock()
			defer w.inbox.mu.Unlock()
			return !w.inbox.sockets[ann.socket].told
		}, func() string { return "nothing is noticed" })
		ann.conn.Full.Store(false)
	}
	misses(1)
	ann.sees(1, state("a"))
	ann.settled()
	seen := len(ann.conn.Packets())
	sessiontest.Eventually(t, func() bool { // the room is quiet again
		w.inbox.mu.Lock()
		defer w.inbox.mu.Unlock()
		return time.Now().After(w.inbox.rooms["a"].next)
	}, func() string { return "the room stays busy" })
	w.chat.set(func(c *chat) { c.during = func() { misses(2) } })
	w.inbox.Missed("ann")
	ann.sees(seen, state("a"))
}
