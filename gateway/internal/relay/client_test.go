package relay

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/userlog"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestEncode: the ClientEvent that is put together from a prefix is what proto.Marshal would have made.
func TestEncode(t *testing.T) {
	other, _ := sessiontest.NewSockets(t).New(t, "/chat", "u")
	identity := &eventv1.Identity{UserId: "u", Name: "Ü", Role: "admin", LoginId: "l", IssuedAt: timestamppb.New(issued), ExpiresAt: timestamppb.New(issued.Add(time.Hour))}
	r := &Relay{cfg: Config{GatewayID: "g1", Events: EventLimits{Burst: 1}}}
	c, err := newClient(r, other.Session(), "/chat", identity, "", "", userlog.Start{})
	if err != nil {
		t.Fatal(err)
	}
	socket := c.socket
	now := time.Unix(1_800_000_000, 123_456_789)
	for packet, attachments := range map[string][][]byte{
		`2["message:send",{"roomId":"r","content":"hä"}]`: nil,
		`2["none"]`:               nil,
		`25[ "space" , 1 , [2] ]`: nil,
		`2[42,"a number"]`:        nil,
		`52-["bin",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]`: {{0, 1, 2}, {}},
		`2["long","` + strings.Repeat("x", 5000) + `"]`:                          nil,
	} {
		p, err := socketio.Decode([]byte(packet), socketio.Limits{})
		if err != nil {
			t.Fatalf("Decode(%s) = %v", packet, err)
		}
		var got eventv1.ClientEvent
		if err := proto.Unmarshal(c.encode([]*pending{{event: p.Name(), args: p.AppendArgs(nil), attachments: attachments, receivedAt: now}}, 0), &got); err != nil {
			t.Fatalf("encode(%s) cannot be decoded: %v", packet, err)
		}
		want := &eventv1.ClientEvent{
			SocketId: socket.ID, GatewayId: "g1", Namespace: "/chat", Event: p.Name(), Args: p.AppendArgs(nil), Attachments: attachments,
			Identity: identity, ReceivedAt: timestamppb.New(now),
		}
		if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
			t.Errorf("encode(%s): -want +got\n%s", packet, diff)
		}
		if !json.Valid(got.GetArgs()) {
			t.Errorf("encode(%s) has args %s, want JSON", packet, got.GetArgs())
		}
	}
}

func TestTokenBucket(t *testing.T) {
	c := &client{relay: &Relay{cfg: Config{Events: EventLimits{Rate: 10, Burst: 3}}}}
	now := time.Unix(1000, 0)
	take := func(at time.Duration, want bool, wantWait time.Duration) {
		t.Helper()
		refusal, _ := c.takeToken(1, now.Add(at))
		wait := time.Duration(0)
		if refusal != nil {
			wait = refusal.RetryAfter
		}
		if (refusal == nil) != want || wait.Round(time.Millisecond) != wantWait {
			t.Errorf("take at %v = %v, want %v, %v", at, refusal, wantWait, want)
		}
	}
	for range 3 {
		take(0, true, 0)
	}
	take(0, false, 100*time.Millisecond)
	take(50*time.Millisecond, false, 50*time.Millisecond)
	take(101*time.Millisecond, true, 0)
	take(101*time.Millisecond, false, 99*time.Millisecond)
	for range 3 { // never more than the burst
		take(time.Hour, true, 0)
	}
	take(time.Hour, false, 100*time.Millisecond)
	c.relay.cfg.Events.Rate = 0
	for range 1000 {
		take(time.Hour, true, 0)
	}
}
