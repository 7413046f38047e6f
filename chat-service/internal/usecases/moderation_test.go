package usecases

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestRemovedIsOutBeforeTheAnswer: all gateways are told, and what is remembered is forgotten, before a removal, a ban, a mute and a role
// are answered. A mute and a role take nobody out.
func TestRemovedIsOutBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann", "bob", "cid", "dan"}})
		s, _ := newTestService(t, m, &published{}, Config{MembershipTTL: time.Minute})
		ann := Caller{User: "ann"}
		speaks := func(user chat.UserID) string {
			return faulttest.Word(s.RoomMessage(t.Context(), Caller{User: user}, "r", chat.Emit{}))
		}
		for _, user := range []chat.UserID{"bob", "cid", "dan"} {
			if got := speaks(user); got != "ok" { // and is remembered
				t.Fatal(got)
			}
		}
		var told []string
		done := func(err error) { told = append(told, fmt.Sprint(faulttest.Word(err), " after ", len(m.evicted))) }
		ctx, cancel := context.WithCancel(t.Context())
		err := s.RemoveMembers(ctx, ann, "r", []chat.UserID{"bob", "eve", "ann"}, "", func(r ActResult, err error) {
			if diff := cmp.Diff(ActResult{[]chat.UserID{"bob", "eve"}, []Failure{{"ann", fault.ReasonNotAllowed}}}, r); diff != "" {
				t.Errorf("removed (-want +got):\n%s", diff)
			}
			done(err)
		})
		cancel() // the request's context does not end the act
		synctest.Wait()
		for _, r := range []rules.Restrict{{Who: "cid", Until: access.Forever()}, {Who: "dan", Mute: true, Until: time.Now().Add(time.Hour)}} {
			r.Room = "r"
			if e := s.Restrict(t.Context(), ann, r, done); e != nil || err != nil {
				t.Fatal(e, err)
			}
			synctest.Wait()
		}
		if err := s.SetRole(t.Context(), ann, "r", "dan", access.RoleModerator, done); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff(evictions{"r [bob] 11", "r [cid] 12", "r [dan] 0", "r [dan] 0"}, m.evicted); diff != "" {
			t.Errorf("evicted (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"ok after 1", "ok after 2", "ok after 3", "ok after 4"}, told); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		if b, c, d := speaks("bob"), speaks("cid"), speaks("dan"); b != "forbidden" || c != "forbidden banned" || d != "forbidden muted" {
			t.Errorf("afterwards bob, cid and dan speak: %s, %s, %s", b, c, d)
		}
		if err := s.AddMembers(t.Context(), Caller{User: "eve"}, "r", []chat.UserID{"eve"}, "", func(_ ActResult, err error) { done(err) }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if told[4] != "forbidden after 4" {
			t.Errorf("a stranger adds = %s", told[4])
		}
	})
}

// TestLeaveByCall: who ends its own membership by a call is out on all gateways before the answer.
func TestLeaveByCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann", "bob"}})
		s, _ := newTestService(t, m, &published{}, Config{})
		for range 2 { // the second time there is nothing to do
			answered := make(chan error, 1)
			if err := s.LeaveByCall(t.Context(), Caller{User: "bob"}, "r", "", func(err error) { answered <- err }); err != nil {
				t.Fatal(err)
			}
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(evictions{"r [bob] 11"}, m.evicted); diff != "" {
				t.Errorf("evicted before the answer (-want +got):\n%s", diff)
			}
		}
	})
}

// TestMembersAreReadByWhoIsOne: who is in a room is told by what is stored, not by what another replica remembers of who asks.
func TestMembersAreReadByWhoIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann", "bob"}})
		cfg := Config{MembershipTTL: time.Minute}
		s, _ := newTestService(t, m, &published{}, cfg)
		bob := Caller{User: "bob"}
		if err := s.RoomMessage(t.Context(), bob, "r", chat.Emit{}); err != nil { // and is remembered
			t.Fatal(err)
		}
		other, _ := newTestService(t, m, &published{}, cfg) // whose eviction does not reach the first one
		if err := other.LeaveByCall(t.Context(), bob, "r", "", func(error) {}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := s.Members(t.Context(), bob, "r"); fault.KindOf(err) != fault.Forbidden {
			t.Errorf("Members = %v, want forbidden", err)
		}
		if _, err := s.MemberList(t.Context(), bob, "r", MembersPage{}); fault.KindOf(err) != fault.Forbidden {
			t.Errorf("MemberList = %v, want forbidden", err)
		}
	})
}

// TestBlockIsKnownToAllReplicas: what others remember of the two, and what they type, ends at once, and nobody is put out of a room.
func TestBlockIsKnownToAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := chat.DirectID([]chat.UserID{"ann", "bob"})
		m := newMemory(rulestest.World{room: {"ann", "bob"}})
		m.state.Blocks = map[rules.Pair]bool{{User: "bob", Blocked: "ann"}: true}
		s, _ := newTestService(t, m, &published{}, Config{MembershipTTL: time.Minute})
		for _, user := range []chat.UserID{"bob", "ann"} { // of whom ann blocks nobody
			if err := s.Block(t.Context(), Caller{User: user}, map[chat.UserID]chat.UserID{"ann": "bob", "bob": "ann"}[user], true); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if diff := cmp.Diff(evictions{string(room) + " [ann bob] 0"}, m.evicted); diff != "" {
			t.Errorf("told to the other replicas (-want +got):\n%s", diff)
		}
	})
}
