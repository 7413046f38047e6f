package activity_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/activity"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/bus/bustest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// rooms is the database.
type rooms struct {
	mu    sync.Mutex // guards what follows
	n     map[chat.RoomID]uint64
	asked [][]chat.RoomID
	fails error
}

func (r *rooms) read(_ context.Context, ids []chat.RoomID) ([]chat.Activity, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(ids)
	r.asked = append(r.asked, ids)
	var list []chat.Activity
	for _, id := range ids {
		if n := r.n[id]; n > 0 {
			list = append(list, chat.Activity{Room: id, Seq: n, N: n})
		}
	}
	return list, r.fails
}

func (r *rooms) set(f func(r *rooms)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r)
}

// committed has the room go on by a message that the Teller sees.
func (r *rooms) committed(t *testing.T, teller *activity.Teller, room chat.RoomID, fact chat.Fact) {
	t.Helper()
	r.set(func(r *rooms) { r.n[room]++ })
	e, err := wire.Encode(chat.RoomEvent{Room: room, Seq: r.n[room], Fact: fact})
	if err != nil {
		t.Fatal(err)
	}
	teller.Seen([]chat.EncodedEvent{e})
}

var sent = chat.MessageSent{Message: chat.Message{Content: "x", CreatedAt: time.UnixMilli(0)}}

const patience = 30 * time.Second

// TestTold: what is committed together is told once, by how the room stands then, on the subject of its shard; other facts are not told, and
// what could not be told is told later.
func TestTold(t *testing.T) {
	broker := bustest.Server(t)
	gateway := bustest.Connect(t, broker)
	heard := make(chan *nats.Msg, 2000)
	if _, err := gateway.ChanSubscribe("activity.v1.*", heard); err != nil {
		t.Fatal(err)
	}
	if err := gateway.Flush(); err != nil {
		t.Fatal(err)
	}
	db := &rooms{n: map[chat.RoomID]uint64{}}
	db.fails = errors.New("away")
	teller := activity.New(bustest.Connect(t, broker), db.read, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = teller.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	for range 5 {
		db.committed(t, teller, "a", sent)
	}
	db.committed(t, teller, "b", chat.MessageDeleted{At: time.UnixMilli(0)})
	db.committed(t, teller, "c", chat.MessageEdited(sent))
	db.committed(t, teller, "d", chat.UserJoined{User: "ann"})
	db.committed(t, teller, "e", &chat.ReactionsChanged{})
	db.set(func(r *rooms) { r.fails = nil })
	got := map[string]string{}
	deadline := time.After(patience)
	for len(got) < 3 {
		select {
		case msg := <-heard:
			batch := new(eventv1.ActivityBatch)
			if err := proto.Unmarshal(msg.Data, batch); err != nil {
				t.Fatal(err)
			}
			for _, r := range batch.GetRooms() {
				got[r.GetRoomId()] = fmt.Sprint(r.GetSeq(), string(r.GetArgs()))
				if want := subject.Activity(subject.RoomShard(r.GetRoomId())); msg.Subject != want {
					t.Errorf("%s is told on %s, want %s", r.GetRoomId(), msg.Subject, want)
				}
			}
		case <-deadline:
			t.Fatalf("told: %v, want three rooms", got)
		}
	}
	for room, want := range map[string]string{
		"a": `5[{"roomId":"a","seq":5,"n":5}]`, "b": `1[{"roomId":"b","seq":1,"n":1}]`, "c": `1[{"roomId":"c","seq":1,"n":1}]`,
	} {
		if got[room] != want {
			t.Errorf("%s is told as %s, want %s", room, got[room], want)
		}
	}
	db.set(func(r *rooms) {
		for _, ids := range r.asked {
			if slices.Contains(ids, "d") || slices.Contains(ids, "e") {
				t.Errorf("read %v, want no room in which nothing was said", ids)
			}
		}
	})
}

// TestLast: what is noted when the service stops is told.
func TestLast(t *testing.T) {
	broker := bustest.Server(t)
	gateway := bustest.Connect(t, broker)
	heard := make(chan *nats.Msg, 2000)
	if _, err := gateway.ChanSubscribe("activity.v1.*", heard); err != nil {
		t.Fatal(err)
	}
	if err := gateway.Flush(); err != nil {
		t.Fatal(err)
	}
	db := &rooms{n: map[chat.RoomID]uint64{}}
	teller := activity.New(bustest.Connect(t, broker), db.read, slog.New(slog.DiscardHandler))
	for i := range 1200 {
		db.committed(t, teller, chat.RoomID(fmt.Sprint("r", i)), sent)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = teller.Run(ctx)
	told := map[string]bool{}
	deadline := time.After(patience)
	for len(told) < 1200 {
		select {
		case msg := <-heard:
			batch := new(eventv1.ActivityBatch)
			if err := proto.Unmarshal(msg.Data, batch); err != nil {
				t.Fatal(err)
			}
			for _, r := range batch.GetRooms() {
				told[r.GetRoomId()] = strings.HasPrefix(r.GetRoomId(), "r")
			}
		case <-deadline:
			t.Fatalf("%d rooms are told, want 1200", len(told))
		}
	}
}
