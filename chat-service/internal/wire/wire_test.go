package wire

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestTextAsJavaScriptWritesIt: gateways and this service write the same text in the same way, that of JSON.stringify.
func TestTextAsJavaScriptWritesIt(t *testing.T) {
	m := chat.Message{Room: "r", Content: "\b\f\n\r\t\"\\\x01<&>\u2028☂"}
	want := "\"content\":\"\\b\\f\\n\\r\\t\\\"\\\\\\u0001<&>\u2028☂\""
	if got := string(MessageArgs(&m)); !strings.Contains(got, want) {
		t.Errorf("MessageArgs = %s, want %s in it", got, want)
	}
}

func TestRoomMessageSplice(t *testing.T) {
	tests := []struct{ args, want string }{
		{`[{"roomId":"r"}]`, `[{"roomId":"r","sender":"ann","timestamp":5}]`},
		{` [ { "roomId" : "r" , "x" : [ 1, {"a":"]}"} ] } , 7 ] `, `[{"roomId":"r","x":[ 1, {"a":"]}"} ],"sender":"ann","timestamp":5}]`},
		{`[{"sender":"eve","roomId":"r","timestamp":{"a":1}}]`, `[{"roomId":"r","sender":"ann","timestamp":5}]`},
		{`[{"\u0073ender":"eve","roomId":"r"}]`, `[{"roomId":"r","sender":"ann","timestamp":5}]`},
		{`[{"roomId":"x","roomId":"r","big":12345678901234567890}]`, `[{"roomId":"x","roomId":"r","big":12345678901234567890,"sender":"ann","timestamp":5}]`},
	}
	for _, test := range tests {
		room, got, err := RoomMessage([]byte(test.args), "ann", 5)
		if err != nil || room != "r" || string(got) != test.want {
			t.Errorf("RoomMessage(%s) = %q, %s, %v, want %s", test.args, room, got, err, test.want)
		}
	}
}

func TestRoomJoin(t *testing.T) {
	since := uint64(7)
	tests := []struct {
		args string
		want usecases.JoinRequest
		ok   bool
	}{
		{`["r"]`, usecases.JoinRequest{Room: "r"}, true},
		{`["r",{"x":1}]`, usecases.JoinRequest{Room: "r"}, true},
		{`[{"roomId":"r","since":7,"limit":9}]`, usecases.JoinRequest{Room: "r", Since: &since, Limit: 9}, true},
		{`[{"roomId":"r","since":7.0,"limit":9e0}]`, usecases.JoinRequest{Room: "r", Since: &since, Limit: 9}, true},
		{`[{"roomId":"r","limit":9999999999}]`, usecases.JoinRequest{Room: "r", Limit: math.MaxInt32}, true},
		{`[{"roomId":"r","limit":0.0}]`, usecases.JoinRequest{}, false},
		{`[{"roomId":"r","limit":9.5}]`, usecases.JoinRequest{}, false},
		{`[{"roomId":"r","since":null}]`, usecases.JoinRequest{Room: "r"}, true},
		{`[{"roomId":"r","since":-1}]`, usecases.JoinRequest{}, false},
		{`[{"roomId":"r","since":1.5}]`, usecases.JoinRequest{}, false},
		{`[{"roomId":"r","since":"7"}]`, usecases.JoinRequest{}, false},
		{`[null]`, usecases.JoinRequest{}, false},
		{`[]`, usecases.JoinRequest{}, false},
		{``, usecases.JoinRequest{}, false},
		{`[["r"]]`, usecases.JoinRequest{}, false},
	}
	for _, test := range tests {
		got, err := RoomJoin([]byte(test.args))
		if (err == nil) != test.ok {
			t.Errorf("RoomJoin(%s) = %v, want ok %v", test.args, err, test.ok)
		}
		if diff := cmp.Diff(test.want, got); test.ok && diff != "" {
			t.Errorf("RoomJoin(%s) (-want +got):\n%s", test.args, diff)
		}
	}
}

func TestBatchIsRoomEventBatch(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	m := chat.Message{ID: chat.NewMessageID(at, 9, 1), Room: "r", Seq: 9, Content: "x", Type: "text", CreatedAt: at}
	var events []chat.EncodedEvent
	for _, e := range []chat.RoomEvent{
		{Room: "r", Seq: 9, Fact: chat.MessageSent{Message: m}, CausedAt: at},
		{Room: "r", Seq: 10, Fact: chat.UserLeft{User: "ann"}, EvictUser: "ann", ExceptSocket: "s"},
	} {
		encoded, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, encoded)
	}
	raw := Batch(events)
	var batch eventv1.RoomEventBatch
	if err := proto.Unmarshal(raw, &batch); err != nil || len(batch.GetEvents()) != 2 || batch.GetEvents()[1].GetEvictUserId() != "ann" {
		t.Errorf("Batch reads as %v, %v", &batch, err)
	}
	got, err := SplitBatch(raw)
	if diff := cmp.Diff(events, got); diff != "" || err != nil {
		t.Errorf("SplitBatch(Batch) %v (-want +got):\n%s", err, diff)
	}
	if _, err := SplitBatch(raw[:len(raw)-1]); err == nil {
		t.Error("SplitBatch of a cut batch = nil, want an error")
	}
}

// FuzzArgs feeds every parser: none may panic, and what is passed on must be valid JSON.
func FuzzArgs(f *testing.F) {
	for _, seed := range []string{
		`[]`, `["r"]`, `[{"roomId":"r","content":"x","type":"t","clientMsgId":"c"}]`, `[{"roomId":"r","since":1,"limit":2}]`,
		`[{"id":"x","a":{"b":[1,"]"]}}]`, `[{"ids":["01890a5d-ac96-774b-bcce-b302099a8057"]}]`, `[{"roomId":"r","inviteId":"x","after":"y"}]`, `[{"\u0072oomId":"\ud800"}]`, `[ {} , 1 ]`, `{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, args []byte) {
		if d, err := MessageSend(args); err == nil && !utf8.ValidString(d.Content) {
			t.Errorf("MessageSend(%q) gives invalid UTF-8", args)
		}
		_, _ = RoomJoin(args)
		_, _, _ = MessageRead(args)
		_, _, _ = MessageHistory(args)
		_, _, _ = NotificationList(args)
		_, _ = NotificationRead(args)
		_, _, _ = UserBlocks(args)
		_, _, _, _ = RoomInvites(args)
		_, _, _ = RevokeInvite(args)
		if _, out, err := RoomMessage(args, "a", 1); err == nil && !json.Valid(out) {
			t.Errorf("RoomMessage(%q) = %q, want JSON", args, out)
		}
		if id, out, err := ChatMessage(args, "a", 1); err == nil && (!json.Valid(out) || !json.Valid(ReceivedArgs(id))) {
			t.Errorf("ChatMessage(%q) = %q, %q, want JSON", args, id, out)
		}
		if out, err := Anything(args); err == nil && !json.Valid(out) {
			t.Errorf("Anything(%q) = %q, want JSON", args, out)
		}
	})
}

// FuzzSplitBatch feeds outbox rows.
func FuzzSplitBatch(f *testing.F) {
	f.Add([]byte{10, 3, 10, 1, 'r'})
	f.Fuzz(func(_ *testing.T, raw []byte) { _, _ = SplitBatch(raw) })
}

// TestChunks: events of several rooms in one transaction, in chunks within their bounds, nothing lost and in order.
func TestChunks(t *testing.T) {
	var events []chat.EncodedEvent
	for seq := range uint64(2*chunkEvents + 5) {
		events = append(events, chat.EncodedEvent{Room: "a", Seq: seq + 1, Bytes: []byte{1}}, chat.EncodedEvent{Room: "b", Seq: seq + 9, Bytes: make([]byte, chunkBytes/3)})
	}
	next := map[chat.RoomID]uint64{"a": 1, "b": 9}
	for _, p := range Chunks(events) {
		n := p.Last - p.First + 1
		if p.First != next[p.Room] || n > chunkEvents || len(p.Bytes) > chunkBytes+10*int(n) {
			t.Errorf("chunk of %s from %d to %d with %d bytes, want it from %d and within bounds", p.Room, p.First, p.Last, len(p.Bytes), next[p.Room])
		}
		next[p.Room] = p.Last + 1
	}
	if want := uint64(2*chunkEvents + 6); next["a"] != want || next["b"] != want+8 {
		t.Errorf("chunks end before %v, want all events in them", next)
	}
}

func TestData(t *testing.T) {
	const data = `{"n":9007199254740993,"x":1e400,"half":"\ud83d"}`
	if got, err := Data([]byte(data)); err != nil || string(got) != data {
		t.Errorf("Data = %s, %v, want it as it is", got, err)
	}
	for data, want := range map[string]string{
		`[]`: "data must be an object", `{`: "data must be an object", `{} {}`: "data must be an object", ``: "data must be an object",
		strings.Repeat(`{"a":`, 32) + "{}" + strings.Repeat("}", 32): "data is nested too deeply",
	} {
		if _, err := Data([]byte(data)); fault.KindOf(err) != fault.Invalid || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Data(%.40s) = %v, want %q", data, err, want)
		}
	}
}
