package relay

import (
	"fmt"
	"testing"

	"github.com/starling-chat/starling/gateway/internal/quota"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// TestUserSockets: a CONNECT beyond what the user may have is refused with a word and a time; a place is free again when a socket ends.
func TestUserSockets(t *testing.T) {
	w := newWorld(t, func(cfg *settings) { cfg.Users = quota.Limits{Sockets: 2} })
	first := w.connect(t, "ann")
	w.connect(t, "ann.phone")
	third, _ := sessiontest.Open(w.sessions, session.Headers{})
	third.Say(`40{"token":"ann"}`)
	third.WaitFor(t, `44{"message":"Too many connections of this user","data":{"code":"too_many_sockets","retryAfterMs":30000}}`)
	w.connect(t, "bob")
	first.Close(transport.CodeNormal, transport.ReasonServer)
	sessiontest.Eventually(t, func() bool { return !w.relay.users.Full("ann") }, func() string { return "the place of a socket that ended is not free" })
	w.connect(t, "ann")
}

// TestUserEvents: the events of all sockets of a user count together, and nobody else's.
func TestUserEvents(t *testing.T) {
	w := newWorld(t, func(cfg *settings) { cfg.Users = quota.Limits{Events: 0.001, Bursts: 3} })
	a, phone, bob := w.connect(t, "ann"), w.connect(t, "ann.phone"), w.connect(t, "bob")
	w.join(t, a, "r")
	w.join(t, phone, "r")
	w.join(t, bob, "r")
	a.Say(`422["room:join","s"]`)
	a.WaitFor(t, "432")
	for i, c := range []*sessiontest.Conn{a, phone} {
		c.Say(fmt.Sprintf(`42%d["room:join","t"]`, 5+i))
		c.WaitFor(t, fmt.Sprintf(`43%d[{"ok":false,"error":{"code":"rate_limited","message":"Too many events of this user","retryAfterMs":`, 5+i))
	}
	bob.Say(`422["room:join","s"]`)
	bob.WaitFor(t, `432[{"ok":true`)
}
