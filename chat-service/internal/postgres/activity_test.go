package postgres_test

import (
	"testing"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// TestActivity: how rooms stand, by the last message of each as it is now; rooms that are no more are left out.
func TestActivity(t *testing.T) {
	s := open(t, database(t))
	for _, room := range []chat.RoomID{"said", "silent", "erased", "gone"} {
		commit(t, s, rules.Create{Origin: by(room, "ann"), New: chat.NewRoom{Kind: access.Private}})
	}
	outcomes, _ := commit(t, s, send("said", "ann", "first", ""), send("said", "ann", "second", ""), send("erased", "ann", "secret", ""), send("gone", "ann", "x", ""))
	commit(t, s, rules.DeleteMessage{Origin: by("erased", "ann"), Message: outcomes[2].ID})
	commit(t, s, rules.Delete{Origin: by("gone", "ann")})
	list, err := s.Activity(t.Context(), []chat.RoomID{"said", "silent", "erased", "gone", "never"})
	if err != nil {
		t.Fatal(err)
	}
	by := map[chat.RoomID]chat.Activity{}
	for _, a := range list {
		by[a.Room] = a
	}
	if a := by["said"]; a.Seq != outcomes[1].Seq || a.N != 2 || a.Last == nil || a.Last.ID != outcomes[1].ID || a.Last.Content != "second" || a.Last.Sender.ID != "ann" || a.Last.Deleted() {
		t.Errorf("activity of a room with two messages = %+v, want the second one", a)
	}
	if a := by["silent"]; a.Seq == 0 || a.N != 0 || a.Last != nil {
		t.Errorf("activity of a room without messages = %+v, want none", a)
	}
	if a := by["erased"]; a.Last == nil || !a.Last.Deleted() || a.Last.Content != "" || a.Seq <= outcomes[2].Seq {
		t.Errorf("activity of a room whose last message was deleted = %+v, want its tombstone", a)
	}
	if len(by) != 3 {
		t.Errorf("activity of %d rooms, want 3: not those that are no more", len(by))
	}
}
