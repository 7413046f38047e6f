package chatservice_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	"github.com/starling-chat/starling/proto/limits"
	"github.com/starling-chat/starling/proto/subject"
)

// fourBytes makes a text of n characters of four bytes each, which does not compress.
func fourBytes(n int) string {
	var b strings.Builder
	for range n {
		b.WriteRune(rune(0x20000 + rand.IntN(0xa000)))
	}
	return b.String()
}

// TestLongestIDs: whoever auth-service lets in can do everything here, with the longest ids that there are: they fit
// the database's indexes as well.
func TestLongestIDs(t *testing.T) {
	s := newSystem(t, 1)
	room := fourBytes(limits.RoomIDChars)
	live := s.listen(subject.Room(room))
	for i, user := range []string{strings.Repeat("星", limits.UserIDChars), fourBytes(limits.UserIDChars)} {
		s.join(user, room)
		joined, _ := nextEvent(t, live)
		if joined.GetEmit().GetEvent() != "room:user-joined" {
			t.Fatalf("event after the join of user %d = %v, want room:user-joined", i, joined)
		}
		message := fmt.Sprintf(`[{"roomId":%q,"content":"hi","clientMsgId":%q}]`, room, fourBytes(limits.ClientMsgIDChars))
		ack := s.ack(user, "/", "message:send", message)
		if ack["ok"] != true {
			t.Fatalf("message:send of user %d = %v, want ok", i, ack)
		}
		if again := s.ack(user, "/", "message:send", message); again["id"] != ack["id"] {
			t.Errorf("the repeat of user %d = %v, want the message %v", i, again, ack["id"])
		}
		sent, _ := nextEvent(t, live)
		if sender := first(t, sent.GetEmit().GetArgs())["sender"].(map[string]any); sender["id"] != user {
			t.Errorf("sender of message:new of user %d = %v, want the user", i, sender)
		}
		read := s.ack(user, "/", "message:read", fmt.Sprintf(`[{"roomId":%q,"messageId":%q}]`, room, ack["id"]))
		if read["ok"] != true {
			t.Errorf("message:read of user %d = %v, want ok", i, read)
		}
		nextEvent(t, live)
		if rooms := s.ack(user, "/", "room:list", `[]`)["rooms"].([]any); len(rooms) != 1 {
			t.Errorf("room:list of user %d = %v, want the room", i, rooms)
		}
		members, err := s.grpc[0].ListMembers(t.Context(), &chatv1.ListMembersRequest{RoomId: room, AsUserId: user})
		if err != nil || len(members.GetUserIds()) != i+1 {
			t.Errorf("ListMembers as user %d = %v, %v, want %d", i, members, err, i+1)
		}
	}
	for what, ack := range map[string]map[string]any{
		"a user over the bound": s.ack(strings.Repeat("星", limits.UserIDChars+1), "/", "room:list", `[]`),
		"a room over the bound": s.ack("ann", "/", "message:history", fmt.Sprintf(`[{"roomId":%q}]`, room+"x")),
	} {
		if ack["code"] != "invalid" {
			t.Errorf("ack of %s = %v, want invalid", what, ack)
		}
	}
}
