package bus_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/bus/bustest"
)

func TestInbox(t *testing.T) {
	nc := bustest.Connect(t, bustest.Server(t))
	in := bus.NewInbox(nc)
	sub, err := nc.SubscribeSync(in.Subject())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []uint64{0, 1, 35, 36, math.MaxUint64} {
		if err := nc.Publish(in.Reply(id), nil); err != nil {
			t.Fatal(err)
		}
		msg, err := sub.NextMsg(30 * time.Second)
		if err != nil {
			t.Fatalf("reply to request %d does not come: %v", id, err)
		}
		if got, ok := in.Request(msg.Subject); !ok || got != id {
			t.Errorf("Request(%q) = %d, %v, want %d", msg.Subject, got, ok, id)
		}
	}
	prefix := strings.TrimSuffix(in.Subject(), "*")
	for _, bad := range []string{"", prefix, prefix + "-1", prefix + "1.2", prefix + "zzzzzzzzzzzzzz", bus.NewInbox(nc).Reply(1)} {
		if id, ok := in.Request(bad); ok {
			t.Errorf("Request(%q) = %d, want none", bad, id)
		}
	}
}
