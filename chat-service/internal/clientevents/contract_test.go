package clientevents

import (
	"errors"
	"testing"

	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/eventserver"
	"github.com/starling-chat/starling/proto/events/eventstest"
)

// TestContract: the service answers the events that the contract has for it, and no others.
func TestContract(t *testing.T) {
	var answered []eventstest.Answered
	for _, r := range Routes(&usecases.Service{}) {
		answered = append(answered, eventstest.Answered{Event: r.Event, Namespaces: r.Namespaces, Repeatable: r.Repeatable})
	}
	eventstest.Compare(t, "chat-service", answered)
}

// Why a repeat that is done late does no harm.
type harmless int

const (
	reads      harmless = iota + 1 // it changes nothing
	recognised                     // by a key or clientMsgId; without one it is not done
	oneAtATime                     // it is not done after the client was answered
	notDone                        // it is not done at all
)

var repeats = map[string]harmless{
	"message:send": recognised, "message": recognised, "message:edit": recognised,
	"message:delete": oneAtATime, "message:react": oneAtATime, "message:unreact": oneAtATime, "message:pin": oneAtATime, "message:unpin": oneAtATime,
	"message:read": oneAtATime, "room:mark-unread": oneAtATime, "notification:read": oneAtATime,
	"message:get": reads, "message:pins": reads, "message:changes": reads, "message:edits": reads, "message:readers": reads,
	"message:history": reads, "mention:list": reads, "notification:list": reads,

	"room:create": recognised, "room:leave": recognised, "room:update": recognised, "room:archive": recognised, "room:delete": recognised,
	"room:add": recognised, "room:remove": recognised, "room:set-role": recognised, "room:ban": recognised, "room:unban": recognised,
	"room:mute": recognised, "room:unmute": recognised, "room:invite": recognised, "room:revoke-invite": recognised,
	"room:open": oneAtATime, "room:prefs": oneAtATime, "user:block": oneAtATime, "user:unblock": oneAtATime,
	"room:get": reads, "room:members": reads, "room:list": reads, "room:invites": reads, "user:blocks": reads,

	"typing:start": oneAtATime, "typing:stop": oneAtATime,
	"room:message": notDone, "chat:message": notDone, "announcement": notDone,
}

// TestRepeatsDoNoHarm: who adds an event says in repeats why a late repeat of it does no harm, and that holds.
func TestRepeatsDoNoHarm(t *testing.T) {
	for _, r := range Routes(&usecases.Service{}) {
		why, decided := repeats[r.Event]
		if !decided {
			t.Errorf("%s: nobody has decided what a repeat does that comes late (see repeats)", r.Event)
			continue
		}
		if r.Repeatable != (why != notDone) || r.OneAtATime != (why == oneAtATime) {
			t.Errorf("%s: Repeatable is %v and OneAtATime %v, which is not %d of repeats", r.Event, r.Repeatable, r.OneAtATime, why)
		}
		if why != recognised {
			continue
		}
		repeat := &eventserver.Request{
			Event: r.Event, Args: []byte(`[{"roomId":"r","content":"c"}]`), Attempt: 1, User: eventserver.User{ID: "ann"}, Namespace: "/",
		}
		var err error
		if r.Handle != nil {
			_, err = r.Handle(t.Context(), repeat)
		} else {
			r.Write(t.Context(), repeat, func(_ *eventserver.Reply, refused error) { err = refused })
		}
		if !errors.Is(err, eventserver.ErrNotRepeatable) {
			t.Errorf("%s: a repeat by nothing that would tell it = %v, want ErrNotRepeatable", r.Event, err)
		}
	}
}
