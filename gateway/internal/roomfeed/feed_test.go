package roomfeed

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus/bustest"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// chatLog is what the feed asks of chat-service.
type chatLog struct {
	chatv1.ChatServiceClient

	mu    sync.Mutex // guards what follows
	rooms map[string][]*eventv1.RoomEvent
	reads int
}

// commit adds an event to a room's log.
func (c *chatLog) commit(room string) *eventv1.RoomEvent {
	c.mu.Lock()
	defer c.mu.Unlock()
	seq := uint64(len(c.rooms[room]) + 1)
	e := &eventv1.RoomEvent{RoomId: room, Seq: seq, Emit: &eventv1.Emit{Event: "e", Args: fmt.Appendf(nil, "[%d]", seq)}}
	c.rooms[room] = append(c.rooms[room], e)
	return e
}

func (c *chatLog) ReadRoomEvents(
	_ context.Context, r *chatv1.ReadRoomEventsRequest, _ ...grpc.CallOption,
) (*chatv1.ReadRoomEventsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	res := &chatv1.ReadRoomEventsResponse{Head: uint64(len(c.rooms[r.GetRoomId()]))}
	for _, e := range c.rooms[r.GetRoomId()] {
		if e.GetSeq() > r.GetAfterSeq() && (r.GetToSeq() == 0 || e.GetSeq() <= r.GetToSeq()) {
			res.Events = append(res.Events, e)
		}
	}
	return res, nil
}

func (c *chatLog) GetHeads(_ context.Context, r *chatv1.GetHeadsRequest, _ ...grpc.CallOption) (*chatv1.GetHeadsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := &chatv1.GetHeadsResponse{Heads: map[string]uint64{}}
	for _, id := range r.GetRoomIds() {
		res.Heads[id] = uint64(len(c.rooms[id]))
	}
	return res, nil
}

func (c *chatLog) asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads
}

// world is a feed with a hub behind it, and chat-service's end of the bus.
type world struct {
	feed    *Feed
	hub     *hub.Hub
	chat    *chatLog
	nc      *nats.Conn // the feed's
	service *nats.Conn
	sockets *sessiontest.Sockets
	out     chan string // users who are out of a room, as the listener hears of them
}

func newWorld(t *testing.T, cfg Config) *world {
	t.Helper()
	broker := bustest.Server(t)
	w := &world{
		chat: &chatLog{rooms: map[string][]*eventv1.RoomEvent{}}, nc: bustest.Connect(t, broker), service: bustest.Connect(t, broker),
		sockets: sessiontest.NewSockets(t), out: make(chan string, 10),
	}
	st, log := sessiontest.Stats(), slog.New(slog.DiscardHandler)
	w.hub = hub.New(2, st, log)
	w.feed = New(cfg, Deps{Bus: w.nc, Source: NewSource(w.nc, w.chat), Hub: w.hub, Stats: st, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	out := func(room string, users []string) { w.out <- room + " " + strings.Join(users, ",") }
	listener := Listener{Evicted: w.hub.LeaveEvicted, Out: out, Log: func(string, []*eventv1.RoomEvent) {}, Lag: func(int, time.Duration) {}}
	go func() { defer close(done); _ = w.feed.Run(ctx, listener) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// patient is a feed that ends no subscription and compares no heads during a test.
func patient() Config {
	return Config{Linger: time.Hour, GapWait: 10 * time.Millisecond, HeadInterval: time.Hour}
}

// member has a client enter a room at its head.
func (w *world) member(t *testing.T, room string) *sessiontest.Conn {
	t.Helper()
	s, c := w.sockets.New(t, "/", "u")
	if _, ok := w.hub.BeginJoin(s, room, 0); !ok {
		t.Fatal("Begin = false")
	}
	w.acquire(t, room)
	w.chat.mu.Lock()
	head := uint64(len(w.chat.rooms[room]))
	w.chat.mu.Unlock()
	var flushes transport.FlushSet
	if ok, _ := w.hub.CompleteJoin(s, room, head, nil, &flushes); !ok {
		t.Fatal("Complete = false")
	}
	flushes.Flush()
	return c
}

// publish sends a room event on the live subject; position 0 is none.
func (w *world) publish(t *testing.T, e *eventv1.RoomEvent, position uint64) {
	t.Helper()
	raw, err := proto.Marshal(&eventv1.RoomEventBatch{Events: []*eventv1.RoomEvent{e}})
	if err != nil {
		t.Fatal(err)
	}
	msg := &nats.Msg{Subject: subject.Room(e.GetRoomId()), Data: raw}
	if position > 0 {
		msg.Header = nats.Header{positionHeader: {strconv.FormatUint(position, 10)}}
	}
	if err := w.service.PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
}

// sees waits until a client has got exactly the first n events of a room.
func sees(t *testing.T, c *sessiontest.Conn, n int) {
	t.Helper()
	want := make([]string, n)
	for i := range want {
		want[i] = fmt.Sprintf(`42["e",%d]`, i+1)
	}
	sessiontest.Eventually(t, func() bool { return slices.Equal(c.Packets(), want) }, func() string {
		return fmt.Sprintf("client got %q, want the events 1 to %d", c.Packets(), n)
	})
}

func TestGapIsRepaired(t *testing.T) {
	w := newWorld(t, patient())
	a := w.member(t, "r")
	w.publish(t, w.chat.commit("r"), 0)
	sees(t, a, 1)
	for range 3 {
		w.chat.commit("r") // never published
	}
	w.publish(t, w.chat.commit("r"), 0)
	sees(t, a, 5)
	if n := w.chat.asked(); n != 1 {
		t.Errorf("the events were read %d times, want once", n)
	}
	var late []*eventv1.RoomEvent // and again and again, also while repairs run
	for i := range 100 {
		e := w.chat.commit("r")
		switch i % 4 {
		case 0:
			late = append(late, e)
		case 1, 2:
			w.publish(t, e, 0)
		case 3:
			w.publish(t, e, 0)
			time.Sleep(2 * time.Millisecond) // some repairs have run by then, or none
		}
	}
	w.publish(t, w.chat.commit("r"), 0)
	for _, e := range late {
		w.publish(t, e, 0)
	}
	sees(t, a, 106)
}

// TestGapIsRepairedFromTheStream: what the stream has is not asked of chat-service, nor is more than what is missing delivered.
func TestGapIsRepairedFromTheStream(t *testing.T) {
	w := newWorld(t, patient())
	js, err := jetstream.New(w.service)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: subject.RoomsStream, Subjects: []string{subject.RoomsStreamSubjects}, AllowDirect: true, // without republishing: all is lost
	}); err != nil {
		t.Fatal(err)
	}
	stored := func(room string) (*testing.T, *eventv1.RoomEvent, uint64) {
		e := w.chat.commit(room)
		raw, _ := proto.Marshal(&eventv1.RoomEventBatch{Events: []*eventv1.RoomEvent{e}})
		ack, err := js.Publish(t.Context(), subject.RoomLog(room), raw)
		if err != nil {
			t.Fatal(err)
		}
		return t, e, ack.Sequence
	}
	a := w.member(t, "r")
	w.publish(stored("r"))
	sees(t, a, 1)
	for range 3 {
		stored("r") // never came here
		stored("other")
	}
	w.publish(stored("r"))
	sees(t, a, 5)
	stored("r") // a lost last one
	w.feed.Resync()
	sees(t, a, 6)
	if n := w.chat.asked(); n != 0 {
		t.Errorf("chat-service was asked %d times, want the stream to have done", n)
	}
	w.chat.commit("r") // the stream never had it
	w.publish(stored("r"))
	sees(t, a, 8)
	if n := w.chat.asked(); n == 0 {
		t.Error("chat-service was never asked for what the stream does not have")
	}
}

func TestLostLastEventIsFound(t *testing.T) {
	cfg := patient()
	cfg.HeadInterval = 50 * time.Millisecond
	w := newWorld(t, cfg)
	a := w.member(t, "r")
	w.member(t, "quiet")
	w.chat.commit("r")
	w.chat.commit("r")
	sees(t, a, 2)
}

func TestLostEventIsFoundAtReconnect(t *testing.T) {
	w := newWorld(t, patient())
	a := w.member(t, "r")
	w.chat.commit("r")
	w.feed.Resync()
	sees(t, a, 1)
}

// TestBacklog: the lag is what waits, at the speed of late.
func TestBacklog(t *testing.T) {
	var b backlog
	var lag time.Duration
	for range 100 {
		lag = b.after(10, 20*time.Millisecond, 500)
	}
	if lag < 990*time.Millisecond || lag > time.Second {
		t.Errorf("lag of 500 messages at 2 ms = %v, want 1 s", lag)
	}
	if lag = b.after(1, time.Millisecond, 0); lag != 0 {
		t.Errorf("lag of nothing = %v, want 0", lag)
	}
}
