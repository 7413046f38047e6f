package chatservice_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// heardAfter gives what a gateway hears of the clocks of some replicas, each of them later than before.
func (s *system) heardAfter(announced *nats.Subscription, replicas int, before map[uint64]uint64) (heard []uint64, clocks map[uint64]uint64) {
	s.t.Helper()
	clocks = map[uint64]uint64{}
	for len(clocks) < replicas {
		if err := s.nc.Publish(subject.CatalogAsk, nil); err != nil {
			s.t.Fatal(err)
		}
		m, err := announced.NextMsg(30 * time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		var c eventv1.Catalog
		if err := proto.Unmarshal(m.Data, &c); err != nil {
			s.t.Fatal(err)
		}
		if c.GetReplica() != 0 && c.GetClockMs() > before[c.GetReplica()]+10 {
			clocks[c.GetReplica()] = c.GetClockMs()
		}
	}
	for replica, shows := range clocks {
		heard = append(heard, replica, shows)
	}
	return heard, clocks
}

// TestGivenUpEventComesLate: a reaction that a stalled bus delivers when its gateway has given it up, and the same socket has taken it back,
// is not done, whichever replica gets it.
func TestGivenUpEventComesLate(t *testing.T) {
	s := newSystem(t, 2)
	s.enter("ann", "r")
	announced, err := s.nc.SubscribeSync(subject.CatalogAnnounce)
	if err != nil {
		t.Fatal(err)
	}
	id := s.ack("ann", "/", "message:send", `[{"roomId":"r","content":"x"}]`)["id"]
	args := fmt.Sprintf(`[{"roomId":"r","messageId":%q,"key":"+1"}]`, id)
	react := event("ann", "/", "message:react", args)
	var clocks map[uint64]uint64
	react.Heard, clocks = s.heardAfter(announced, 2, nil)
	react.PatienceMs = 5
	heard, _ := s.heardAfter(announced, 2, clocks) // so long it is on its way

	unreact := event("ann", "/", "message:unreact", args)
	unreact.Heard, unreact.PatienceMs = heard, 60_000
	if reply, err := s.request(unreact); err != nil || reply.GetFault() != nil {
		t.Fatalf("message:unreact = %v, %v", reply, err)
	}
	for range 6 { // both replicas get some of them
		if reply, err := s.request(react); err != nil || reply.GetFault().GetCode() != "unavailable" {
			t.Errorf("message:react that comes late = %v, %v, want unavailable", reply, err)
		}
	}
	get := s.ack("ann", "/", "message:get", fmt.Sprintf(`[{"roomId":"r","messageIds":[%q]}]`, id))
	if m := get["messages"].([]any)[0].(map[string]any); m["reactions"] != nil {
		t.Errorf("reactions in the end = %v, want none", m["reactions"])
	}
	react.Heard, react.PatienceMs = heard, 60_000
	if reply, err := s.request(react); err != nil || reply.GetFault() != nil {
		t.Errorf("message:react that is waited for = %v, %v", reply, err)
	}
}

// TestRepeatComesLate: what a gateway sent again, because its first attempt was slow, is not done when it may not be begun any more: the
// client has taken back by then what the first attempt did.
func TestRepeatComesLate(t *testing.T) {
	s := newSystem(t, 2)
	s.enter("ann", "r")
	announced, err := s.nc.SubscribeSync(subject.CatalogAnnounce)
	if err != nil {
		t.Fatal(err)
	}
	id := s.ack("ann", "/", "message:send", `[{"roomId":"r","content":"x"}]`)["id"]
	args := func(format string) string { return fmt.Sprintf(`[{"roomId":"r","messageId":%q%s}]`, id, format) }
	room, message := `["r"]`, fmt.Sprintf(`[{"roomId":"r","messageIds":[%q]}]`, id)
	for _, tc := range []struct {
		event, back    string
		args, backArgs string
		asked, askedOf string // what tells of it
	}{
		{"message:react", "message:unreact", args(`,"key":"+1"`), args(`,"key":"+1"`), "message:get", message},
		{"message:pin", "message:unpin", args(""), args(""), "message:pins", room},
		{"message:read", "room:mark-unread", args(""), `[{"roomId":"r","seq":0}]`, "room:get", room},
		{"user:block", "user:unblock", `[{"userId":"bob"}]`, `[{"userId":"bob"}]`, "user:blocks", `[]`},
		{"room:prefs", "room:prefs", `[{"roomId":"r","muted":true}]`, `[{"roomId":"r","muted":false}]`, "room:get", room},
	} {
		heard, clocks := s.heardAfter(announced, 2, nil)
		first := event("ann", "/", tc.event, tc.args)
		first.Heard, first.PatienceMs, first.BeginMs = heard, 60_000, 50_000
		if reply, err := s.request(first); err != nil || reply.GetFault() != nil {
			t.Fatalf("%s = %v, %v", tc.event, reply, err)
		}
		repeat := event("ann", "/", tc.event, tc.args)
		repeat.Heard, repeat.PatienceMs, repeat.BeginMs, repeat.Attempt = heard, 60_000, 5, 1
		s.heardAfter(announced, 2, clocks) // so long it is on its way
		s.ack("ann", "/", tc.back, tc.backArgs)
		want := s.ack("ann", "/", tc.asked, tc.askedOf)
		for range 6 { // both replicas get some of them
			if reply, err := s.request(repeat); err != nil || reply.GetFault().GetCode() != "unavailable" {
				t.Errorf("the repeat of %s that comes late = %v, %v, want unavailable", tc.event, reply, err)
			}
		}
		if diff := cmp.Diff(want, s.ack("ann", "/", tc.asked, tc.askedOf)); diff != "" {
			t.Errorf("after %s, and the repeat of %s (-want +got):\n%s", tc.back, tc.event, diff)
		}
	}
}
