package relay

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// TestPresence: sockets are present from their CONNECT to their end, and hear who else is.
func TestPresence(t *testing.T) {
	w := newWorld(t, nil)
	wantPresent := func(want int) {
		t.Helper()
		var s eventv1.PresenceSnapshot
		sessiontest.Eventually(t, func() bool {
			msg, err := w.service.Request(subject.PresenceSnapshot("g1"), nil, time.Second)
			return err == nil && proto.Unmarshal(msg.Data, &s) == nil && len(s.GetSockets()) == want
		}, func() string { return fmt.Sprintf("%d sockets are present, want %d", len(s.GetSockets()), want) })
	}
	a := w.connect(t, "a")
	a.Say(`40/chat,{"token":"a"}`)
	wantPresent(2)
	a.Forget()
	w.send(t, subject.PresenceOnline, &eventv1.OnlineUsers{UserIds: []string{"a"}, Count: 1, Complete: true})
	sees(t, a, `42["users:online",["a"]]`) // once: /chat does not hear it
	a.Say("41/chat,")
	wantPresent(1)
	a.Say("1")
	wantPresent(0)
}
