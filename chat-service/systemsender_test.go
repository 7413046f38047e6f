package chatservice_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"

	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
)

// TestSystemIsNobodysUser: no user speaks as the System or takes its clientMsgIds, neither by a token with its id nor by a backend's
// word; and what the System says is marked as such wherever messages are read.
func TestSystemIsNobodysUser(t *testing.T) {
	s := newSystem(t, 1)
	s.join("ann", "r")
	for event, args := range map[string]string{
		"message:send": `[{"roomId":"r","content":"I am the System","clientMsgId":"c"}]`,
		"room:message": `[{"roomId":"r"}]`,
		"room:list":    `[]`,
	} {
		if ack := s.ack("system", "/", event, args); ack["ok"] != false || ack["code"] != string(fault.Invalid) {
			t.Errorf("%s of a user with the System's id = %v, want %s", event, ack, fault.Invalid)
		}
	}
	md, _ := caller.Metadata(nil, []string{caller.ScopeMessages}, "")
	backend := metadata.NewOutgoingContext(t.Context(), md)
	_, err := s.grpc[0].PostMessage(backend, &chatv1.PostMessageRequest{RoomId: "r", UserId: "system", Content: "x", ClientMsgId: "c"})
	if kind := fault.KindOf(fault.FromStatus(err)); kind != fault.Invalid {
		t.Errorf("PostMessage in the name of a user with the System's id = %v, want %s", err, fault.Invalid)
	}
	s.ack("ann", "/", "message:send", `[{"roomId":"r","content":"by ann","clientMsgId":"c"}]`)
	posted, err := s.grpc[0].PostMessage(backend, &chatv1.PostMessageRequest{RoomId: "r", Content: "by the System", ClientMsgId: "c"})
	if err != nil {
		t.Fatal(err)
	}

	var list struct{ Messages []map[string]any }
	raw, _ := json.Marshal(s.ack("ann", "/", "message:history", `[{"roomId":"r"}]`))
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	type said struct{ Content, System any }
	want := []said{{"by ann", nil}, {"by the System", true}}
	var got []said
	for _, m := range list.Messages {
		got = append(got, said{m["content"], m["system"]})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("message:history (-want +got):\n%s", diff)
	}
	md, _ = caller.Metadata(event("ann", "/", "x", "[]").GetIdentity(), nil, "")
	page, err := s.grpc[0].ListMessages(metadata.NewOutgoingContext(t.Context(), md), &chatv1.ListMessagesRequest{RoomId: "r"})
	if err != nil || len(page.GetMessages()) != 2 {
		t.Fatalf("ListMessages = %v, %v, want two", page, err)
	}
	if first, second := page.GetMessages()[0], page.GetMessages()[1]; first.System != nil || !second.GetSystem() || second.GetId() != posted.GetId() {
		t.Errorf("ListMessages = %v, want only the second one marked as the System's", page)
	}
}
