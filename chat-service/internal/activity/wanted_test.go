package activity

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/wire"
)

// TestWanted: nothing is noted when no gateway has said for a while that it has an inbox.
func TestWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := wire.Encode(chat.RoomEvent{Room: "a", Seq: 1, Fact: chat.MessageSent{}})
		if err != nil {
			t.Fatal(err)
		}
		teller := New(nil, func(context.Context, []chat.RoomID) ([]chat.Activity, error) { return nil, nil }, slog.New(slog.DiscardHandler))
		noted := func(want int) {
			t.Helper()
			teller.Seen([]chat.EncodedEvent{e})
			if got := len(teller.take()); got != want {
				t.Errorf("%d rooms are noted, want %d", got, want)
			}
		}
		noted(1) // it has just started: who wants it may not have said so yet
		time.Sleep(wantedFor + time.Second)
		noted(0)
		teller.Wanted()
		noted(1)
		time.Sleep(wantedFor - time.Second)
		noted(1)
		time.Sleep(2 * time.Second)
		noted(0)
	})
}
