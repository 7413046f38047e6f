package relay

import (
	"context"
	"strings"
	"testing"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestRefreshLeavesClosedRooms: a room that the token before opened, and the fresh one does not, is left before the ack; others stay. While
// chat-service cannot say which these are, the refresh is refused and the socket goes on with what it had.
func TestRefreshLeavesClosedRooms(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, "u.opens-by-token")
	w.join(t, c, "by-token")
	w.join(t, c, "room")

	w.chat.away.Store(true)
	c.Say(`421["auth:refresh",{"token":"u.none"}]`)
	if got := c.WaitFor(t, "431["); !strings.Contains(got, `"code":"unavailable"`) {
		t.Errorf("a refresh while chat-service is away is answered by %s, want unavailable", got)
	}
	w.chat.away.Store(false)
	who := make(chan *eventv1.Identity, 1)
	w.respond(t, "who", func(e *eventv1.ClientEvent) *eventv1.ClientReply { who <- e.GetIdentity(); return ok(nil) })
	c.Say(`422["who"]`)
	if got := <-who; got.GetLoginId() != "opens-by-token" || len(got.GetRooms()) != 1 {
		t.Errorf("events carry %v after the refusal, want the token before", got)
	}
	w.wantRefs(t, "by-token", 1)

	c.Say(`423["auth:refresh",{"token":"u.opens-by-token"}]`)
	c.WaitFor(t, `433[{"ok":true}]`)
	w.wantRefs(t, "by-token", 1)
	c.Say(`424["auth:refresh",{"token":"u.none"}]`)
	c.WaitFor(t, `434[{"ok":true}]`)
	c.Forget()
	w.publish(t, w.chat.commit("by-token"))
	w.publish(t, w.chat.commit("room"))
	c.WaitFor(t, `42["e"`)
	if got := strings.Count(strings.Join(c.Packets(), "\n"), `42["e"`); got != 1 {
		t.Errorf("%d events came after the ack, want that of the other room only: %q", got, c.Packets())
	}
	w.wantRefs(t, "by-token", 0)
	w.wantRefs(t, "room", 1)
}

// TestJoinDuringRefresh: a join that was granted for a token which is not the socket's any more is asked again for the one that is.
func TestJoinDuringRefresh(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, "u.first")
	socket := w.socket(t, "u", c)
	var asked []string
	w.chat.mu.Lock()
	w.chat.joining = func(_ context.Context, e *eventv1.ClientEvent) error {
		if asked = append(asked, e.GetIdentity().GetLoginId()); len(asked) == 1 {
			_, err := socket.State.(*client).prolong(&eventv1.Identity{UserId: "u", LoginId: "second"})
			return err
		}
		return nil
	}
	w.chat.mu.Unlock()
	w.join(t, c, "r")
	if got := strings.Join(asked, " "); got != "first second" {
		t.Errorf("the join was asked for the tokens %q, want first second", got)
	}
}
