//go:build sabotage

package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/roomfeed"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus/bustest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/limits"
	"github.com/starling-chat/starling/proto/subject"
)

// TestLeakySource: behind a gap the events go on, and what is missing never comes.
func TestLeakySource(t *testing.T) {
	broker := bustest.Server(t)
	nc, service := bustest.Connect(t, broker), bustest.Connect(t, broker)
	st, log := sessiontest.Stats(), slog.New(slog.DiscardHandler)
	rooms := hub.New(2, st, log)
	feed := roomfeed.New(roomfeed.Config{Linger: time.Hour, GapWait: time.Millisecond, HeadInterval: time.Millisecond}, roomfeed.Deps{
		Bus: nc, Source: leakySource{roomfeed.NewSource(nc, nil)}, Hub: rooms, Stats: st, Log: log, // chat-service is never asked
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = feed.Run(ctx, roomfeed.Listener{Evicted: rooms.Leave, Log: func(string, []*eventv1.RoomEvent) {}, Lag: func(int, time.Duration) {}})
	}()
	defer func() { cancel(); <-ended }()

	s, c := sessiontest.NewSockets(t).New(t, "/", "u")
	rooms.BeginJoin(s, "r", 0)
	if err := feed.Acquire(ctx, "r"); err != nil {
		t.Fatal(err)
	}
	var flushes transport.FlushSet
	if ok, _ := rooms.CompleteJoin(s, "r", 0, nil, &flushes); !ok {
		t.Fatal("the socket cannot join")
	}
	for _, seq := range []uint64{1, 4, 5} {
		raw, err := proto.Marshal(&eventv1.RoomEventBatch{Events: []*eventv1.RoomEvent{
			{RoomId: "r", Seq: seq, Emit: &eventv1.Emit{Event: "e", Args: fmt.Appendf(nil, "[%d]", seq)}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := service.Publish(subject.Room("r"), raw); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{`42["e",1]`, `42["e",4]`, `42["e",5]`}
	sessiontest.Eventually(t, func() bool { return slices.Equal(c.Packets(), want) }, func() string {
		return fmt.Sprintf("client got %q, want %q", c.Packets(), want)
	})
}

// fixedSource always gives the same events.
type fixedSource struct {
	roomfeed.Source

	events []*eventv1.RoomEvent
}

func (s fixedSource) Live(*nats.Msg) ([]*eventv1.RoomEvent, uint64, error) { return s.events, 0, nil }

func (s fixedSource) FromService(context.Context, string, uint64, uint64) ([]*eventv1.RoomEvent, error) {
	return s.events, nil
}

// TestLeakyLogs: events of logs get lost and never come; those of rooms do not.
func TestLeakyLogs(t *testing.T) {
	lose := true
	for _, roomID := range []string{"r", limits.UserLog("u")} {
		isLog := roomID != "r"
		s := leakyLogs{fixedSource{events: []*eventv1.RoomEvent{{RoomId: roomID, Seq: 3, Emit: &eventv1.Emit{Event: "e"}}}}, func() bool { return lose }}
		for _, lose = range []bool{true, false} {
			if events, _, err := s.Live(nil); err != nil || (len(events) == 0) != (isLog && lose) {
				t.Errorf("Live of %q, to be lost %t = %v, %v", roomID, lose, events, err)
			}
		}
		events, err := s.FromService(t.Context(), roomID, 2, 3)
		if err != nil || len(events) != 1 || events[0].GetSeq() != 3 || (events[0].GetEmit() == nil) != isLog {
			t.Errorf("FromService of %q = %v, %v", roomID, events, err)
		}
	}
}
