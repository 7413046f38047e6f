package eventserver

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/stall"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestStall has requests wait while the process stands still: none of them is handled, and the next one is.
func TestStall(t *testing.T) {
	handled := 0
	var log faulttest.Log
	nc := bustest.New(t)
	s, err := New(nc, Service{Name: "a", Routes: []Route{{
		Event: "e", Write: func(_ context.Context, _ *Request, done func(*Reply, error)) { handled++; done(nil, nil) },
	}}}, Limits{Stall: 50 * time.Millisecond}, nil, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(60 * time.Millisecond) // nobody keeps it awake
	// The identity of user "u": field 7 of ClientEvent, with field 1.
	msg := &nats.Msg{Sub: &nats.Subscription{Subject: "client.v1.root.e"}, Data: []byte("\x3a\x03\x0a\x01u")}
	for range 3 {
		s.inbox <- msg
	}
	s.dispatch(t.Context(), <-s.inbox)
	if handled != 0 || len(s.inbox) != 0 || !strings.Contains(log.String(), `"requests":3`) {
		t.Errorf("%d requests handled and %d kept after a stall, want all 3 dropped:\n%s", handled, len(s.inbox), &log)
	}
	s.stalls = stall.New(time.Hour) // awake again
	s.dispatch(t.Context(), msg)
	if handled != 1 {
		t.Errorf("%d requests handled after the sweep, want 1", handled)
	}
}
