package wire

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestMovesInbox: of all facts those about what messages say are told to inboxes, whatever stands before them in the encoded event.
func TestMovesInbox(t *testing.T) {
	for fact, want := range map[chat.Fact]bool{
		chat.MessageDeleted{}: true, chat.UserJoined{User: "u"}: false, chat.UserLeft{}: false, chat.RoleChanged{}: false, chat.MessageRead{}: false,
		chat.MessagePinned{}: false, chat.TypingStopped{}: false, chat.RoomDeleted{}: false, &chat.ReactionsChanged{}: false,
	} {
		e, err := Encode(chat.RoomEvent{Room: "r", Seq: 1 << 40, ExceptSocket: "s", CausedAt: time.Now(), Fact: fact})
		if err != nil {
			t.Fatal(err)
		}
		if got := MovesInbox(e.Bytes); got != want {
			t.Errorf("MovesInbox(%T) = %v, want %v", fact, got, want)
		}
	}
	for _, fact := range []chat.Fact{chat.MessageSent{}, chat.MessageEdited{}} {
		if e, err := Encode(chat.RoomEvent{Room: "r", Seq: 1, Fact: fact}); err != nil || !MovesInbox(e.Bytes) {
			t.Errorf("MovesInbox(%T) = false, want true; %v", fact, err)
		}
	}
	raw, err := proto.Marshal(&eventv1.RoomEvent{RoomId: messageNew, Emit: &eventv1.Emit{Event: "x", Args: []byte(messageNew)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{nil, raw, raw[:3], []byte("\xff\xff\xff"), []byte("\x1a\xff"), []byte("\x1a\x02\x0a\x7f")} {
		if MovesInbox(b) {
			t.Errorf("MovesInbox(%q) = true, want false", b)
		}
	}
}

func TestActivityArgs(t *testing.T) {
	id, err := chat.ParseMessageID("019aca5e-1b2c-7000-8000-000000000001")
	if err != nil {
		t.Fatal(err)
	}
	m := &chat.Message{ID: id, Room: "r", Seq: 7, Sender: chat.Sender{ID: "ann", Name: "Ann"}, Content: "a\nb" + strings.Repeat("x", 200), Type: "text", CreatedAt: time.UnixMilli(1_700_000_000_000).UTC()}
	a := chat.Activity{Room: `r"`, Seq: 9, N: 3, Last: m}
	begin := `[{"roomId":"r\"","seq":9,"n":3,"last":{"id":"019aca5e-1b2c-7000-8000-000000000001","sender":{"id":"ann","name":"Ann"},"preview":"`
	if got, want := string(ActivityArgs(&a)), begin+"a b"+strings.Repeat("x", 137)+`","type":"text","createdAt":"2023-11-14T22:13:20.000Z"}}]`; got != want {
		t.Errorf("ActivityArgs = %s, want %s", got, want)
	}
	m.Content, m.Extras = "", &chat.Extras{DeletedAt: time.UnixMilli(1_700_000_001_000).UTC()}
	if got, want := string(ActivityArgs(&a)), begin+`","type":"text","createdAt":"2023-11-14T22:13:20.000Z","deletedAt":"2023-11-14T22:13:21.000Z"}}]`; got != want {
		t.Errorf("ActivityArgs = %s, want %s", got, want)
	}
	a.Last = nil
	if got, want := string(ActivityArgs(&a)), `[{"roomId":"r\"","seq":9,"n":3}]`; got != want {
		t.Errorf("ActivityArgs = %s, want %s", got, want)
	}
	if got, want := string(InboxState(&usecases.RoomList{Useq: 4})), `[{"rooms":[],"useq":4}]`; got != want {
		t.Errorf("InboxState = %s, want %s", got, want)
	}
}
