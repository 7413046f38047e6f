package relay

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

func TestRevocation(t *testing.T) {
	w := newWorld(t, nil)
	before, after := timestamppb.New(issued.Add(-time.Second)), timestamppb.New(issued.Add(time.Second))
	phone, laptop, other := w.connect(t, "u.phone"), w.connect(t, "u.laptop"), w.connect(t, "other.x")
	revoke := func(rev *eventv1.Revocation, want int32) {
		t.Helper()
		raw, _ := proto.Marshal(w.auth.revoke(rev))
		msg, err := w.service.Request(subject.Revoked, raw, sessiontest.Patience)
		if err != nil {
			t.Fatalf("revocation: %v", err)
		}
		var reply eventv1.RevocationReply
		if err := proto.Unmarshal(msg.Data, &reply); err != nil || reply.GetClosed() != want || reply.GetGatewayId() != "g1" {
			t.Errorf("reply = %v, %v, want %d closed", &reply, err, want)
		}
	}
	open := func(want bool, conns ...*sessiontest.Conn) {
		t.Helper()
		for _, c := range conns {
			if _, _, ended := c.Ended(); ended == want {
				t.Errorf("conn open = %v, want %v", !ended, want)
			}
		}
	}
	revoke(&eventv1.Revocation{UserId: "u", RevokedAt: before}, 0)                  // issued after it
	revoke(&eventv1.Revocation{UserId: "u", RevokedAt: timestamppb.New(issued)}, 0) // in the same millisecond: auth-service lets it in
	revoke(&eventv1.Revocation{UserId: "u", LoginId: "unknown", RevokedAt: after}, 0)
	open(true, phone, laptop, other)
	revoke(&eventv1.Revocation{UserId: "u", LoginId: "phone", RevokedAt: after}, 1)
	if code, reason := phone.WaitEnded(t); code != transport.CodeNormal || reason != transport.ReasonServer || phone.Packets()[0] != "41" {
		t.Errorf("closed with %d, %s after %q, want 1000, server after 41", code, reason, phone.Packets())
	}
	open(true, laptop, other)

	// A revocation that came while a token was on its way from the check to the registry.
	w.refuses(t, "u.phone")

	// One that the bus lost is caught up with.
	w.auth.revoke(&eventv1.Revocation{UserId: "u", RevokedAt: after})
	w.relay.Resync()
	laptop.WaitEnded(t)
	open(true, other)
}

// TestShutOut: a user is disabled, and a replica that remembers another state lets a token in that was issued later: whenever the gateway
// hears of the revocation, the socket is closed; also one that only refreshed its token. One that was let in after the user was enabled
// again stays, and so does any when the user may come with a later token.
func TestShutOut(t *testing.T) {
	w := newWorld(t, nil)
	before := timestamppb.New(issued.Add(-time.Second))
	remembers := func(generation int64) {
		w.auth.mu.Lock()
		defer w.auth.mu.Unlock()
		w.auth.generation = generation
	}
	revoke := func(rev *eventv1.Revocation, want int32) {
		t.Helper()
		raw, _ := proto.Marshal(w.auth.revoke(rev))
		msg, err := w.service.Request(subject.Revoked, raw, sessiontest.Patience)
		if err != nil {
			t.Fatalf("revocation: %v", err)
		}
		var reply eventv1.RevocationReply
		if err := proto.Unmarshal(msg.Data, &reply); err != nil || reply.GetClosed() != want {
			t.Errorf("reply to %v = %v, %v, want %d closed", rev, &reply, err, want)
		}
	}
	remembers(2)
	early, other := w.connect(t, "u.early"), w.connect(t, "other.x")
	revoke(&eventv1.Revocation{UserId: "u", RevokedAt: before}, 0)
	revoke(&eventv1.Revocation{UserId: "u", RevokedAt: before, Generation: 2}, 0)
	remembers(4)
	late := w.connect(t, "u.late")
	remembers(3)
	refreshed := w.connect(t, "u.refreshed")
	refreshed.Say(`421["auth:refresh",{"token":"u.again"}]`)
	refreshed.WaitFor(t, `431[{"ok":true}]`)
	revoke(&eventv1.Revocation{UserId: "u", RevokedAt: before, Generation: 4}, 2)
	for _, c := range []*sessiontest.Conn{early, refreshed} {
		if _, reason := c.WaitEnded(t); reason != transport.ReasonServer {
			t.Errorf("closed for %s, want server", reason)
		}
	}
	for _, c := range []*sessiontest.Conn{late, other} {
		if _, reason, ended := c.Ended(); ended {
			t.Errorf("closed for %s, want open", reason)
		}
	}

	// It came while the token was on its way from the check to the registry.
	w.refuses(t, "u.early")
	// The bus lost it.
	w.auth.revoke(&eventv1.Revocation{UserId: "other", RevokedAt: before, Generation: 5})
	w.relay.Resync()
	other.WaitEnded(t)
	if _, reason, ended := late.Ended(); ended {
		t.Errorf("closed for %s, want open", reason)
	}
}

func TestTokenExpires(t *testing.T) {
	w := newWorld(t, nil)
	w.auth.expires = time.Now().Add(-time.Second)
	c, _ := w.enter(t, "u")
	if code, reason := c.WaitEnded(t); code != transport.CodePolicy || reason != transport.ReasonExpired {
		t.Errorf("closed with %d, %s, want 1008, expired", code, reason)
	}
	if slices.Contains(c.Queued(), "41") {
		t.Error("the socket was disconnected for good, want the transport closed: the client comes back")
	}
}

func TestRefresh(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, "u.first")
	for say, want := range map[string]string{
		`421["auth:refresh",{"token":"other.x"}]`: `431[{"ok":false,"error":{"code":"forbidden"`,
		`422["auth:refresh",{"token":7}]`:         `432[{"ok":false,"error":{"code":"invalid"`,
		`423["auth:refresh"]`:                     `433[{"ok":false,"error":{"code":"invalid"`,
		`424["auth:refresh",{"token":"bad"}]`:     `434[{"ok":false,"error":{"code":"unauthenticated","message":"Invalid token"`,
	} {
		c.Say(say)
		if got := c.WaitFor(t, want[:3]); !strings.HasPrefix(got, want) {
			t.Errorf("%s is answered by %s, want %s", say, got, want)
		}
	}
	c.Say(`425["auth:refresh",{"token":"u.second"}]`)
	c.WaitFor(t, `435[{"ok":true}]`)
	got := make(chan *eventv1.Identity, 1)
	w.respond(t, "who", func(e *eventv1.ClientEvent) *eventv1.ClientReply { got <- e.GetIdentity(); return ok(nil) })
	c.Say(`426["who"]`)
	who := <-got
	if who.GetLoginId() != "second" || who.GetName() != "Name of u" || who.GetNameVersion() != 7 || who.GetRole() != "user" {
		t.Errorf("events carry %v after the refresh, want login second, and name and role of the CONNECT", who)
	}
	w.send(t, subject.Revoked, &eventv1.Revocation{Id: 1, UserId: "u", LoginId: "second", RevokedAt: timestamppb.Now()})
	c.WaitEnded(t)
}

// TestEventsDuringRefresh: a client sends while its token is being refreshed. The refresh runs in a goroutine of its own, beside
// the reader's, so that -race sees what both touch.
func TestEventsDuringRefresh(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, "u.first")
	tooLarge := `429["big","` + strings.Repeat("x", 2*testConfig().Events.MaxBytes) + `"]`
	for round := range 20 {
		c.Say(fmt.Sprintf(`42%d["auth:refresh",{"token":"u.%d"}]`, 100+round, round))
		reply := fmt.Sprintf(`43%d`, 100+round)
		sessiontest.Eventually(t, func() bool {
			c.Say(tooLarge) // is refused by the reader, whatever is in flight
			return slices.ContainsFunc(c.Packets(), func(p string) bool { return strings.HasPrefix(p, reply) })
		}, func() string { return "the refresh is not answered" })
		if got := c.WaitFor(t, reply); got != reply+`[{"ok":true}]` {
			t.Fatalf("the refresh is answered by %s, want ok", got)
		}
		c.Forget()
	}
}

// TestConnectTakenBack: DISCONNECT, CONNECT while auth-service is asked: the second CONNECT counts, with its own token.
func TestConnectTakenBack(t *testing.T) {
	w := newWorld(t, nil)
	hold := make(chan struct{})
	w.auth.mu.Lock()
	w.auth.hold = hold
	w.auth.mu.Unlock()
	c, s := sessiontest.Open(w.sessions, session.Headers{})
	c.SayTogether(`40{"token":"one"}`, "41", `40{"token":"two"}`)
	close(hold)
	c.WaitFor(t, "40{")
	sessiontest.Eventually(t, func() bool { return len(w.relay.registry.User("two")) == 1 }, func() string { return "no socket of the second CONNECT" })
	if got := len(w.relay.registry.User("one")); got != 0 {
		t.Errorf("%d sockets of the CONNECT that was taken back, want none", got)
	}
	c.Say(`421["none"]`)
	c.WaitFor(t, "431")
	if _, reason, ended := c.Ended(); ended || len(s.Sockets()) != 1 {
		t.Errorf("%d sockets, closed as %q: want one, open", len(s.Sockets()), reason)
	}
}
