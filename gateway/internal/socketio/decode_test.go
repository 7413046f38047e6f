package socketio

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/starling-chat/starling/platform/rawjson"
)

func reasonOf(err error) Reason {
	if e, ok := errors.AsType[*ProtocolError](err); ok {
		return e.Reason
	}
	return ""
}

func equal(a, b Packet) bool {
	return a.Type == b.Type && a.HasID == b.HasID && a.TooDeep == b.TooDeep && a.Attachments == b.Attachments &&
		a.ID == b.ID && a.Namespace == b.Namespace && bytes.Equal(a.Data, b.Data)
}

func TestDecode(t *testing.T) {
	tests := []struct {
		in   string
		want Packet
		name string
		args string
	}{
		{in: `0`, want: Packet{Type: Connect, Namespace: "/"}},
		{in: `0{"token":"123"}`, want: Packet{Type: Connect, Namespace: "/", Data: []byte(`{"token":"123"}`)}},
		{in: `0/custom,`, want: Packet{Type: Connect, Namespace: "/custom"}},
		{in: `0/custom`, want: Packet{Type: Connect, Namespace: "/custom"}},
		{in: `0/,{}`, want: Packet{Type: Connect, Namespace: "/", Data: []byte(`{}`)}},
		{in: `0/custom,{"a":1}`, want: Packet{Type: Connect, Namespace: "/custom", Data: []byte(`{"a":1}`)}},
		{in: `1`, want: Packet{Type: Disconnect, Namespace: "/"}},
		{in: `1/custom,`, want: Packet{Type: Disconnect, Namespace: "/custom"}},
		{
			in:   `2["message",1,"2",{"3":[true]}]`,
			want: Packet{Type: Event, Namespace: "/", Data: []byte(`["message",1,"2",{"3":[true]}]`)},
			name: "message", args: `[1,"2",{"3":[true]}]`,
		},
		{in: `2["message"]`, want: Packet{Type: Event, Namespace: "/", Data: []byte(`["message"]`)}, name: "message", args: `[]`},
		{in: `2[""]`, want: Packet{Type: Event, Namespace: "/", Data: []byte(`[""]`)}, args: `[]`},
		{in: `2[7,8]`, want: Packet{Type: Event, Namespace: "/", Data: []byte(`[7,8]`)}, name: "7", args: `[8]`},
		{in: `2[-1.5e3]`, want: Packet{Type: Event, Namespace: "/", Data: []byte(`[-1.5e3]`)}, name: "-1.5e3", args: `[]`},
		{
			in:   "2/chat,0 [ \"a\\u0062\\n\" , 1 , 2 ] \n",
			want: Packet{Type: Event, Namespace: "/chat", HasID: true, Data: []byte(`[ "a\u0062\n" , 1 , 2 ]`)},
			name: "ab\n", args: `[ 1 , 2 ]`,
		},
		{
			in:   `2456["message-with-ack",1]`,
			want: Packet{Type: Event, Namespace: "/", HasID: true, ID: 456, Data: []byte(`["message-with-ack",1]`)},
			name: "message-with-ack", args: `[1]`,
		},
		{
			in:   `29007199254740992["a"]`,
			want: Packet{Type: Event, Namespace: "/", HasID: true, ID: MaxID, Data: []byte(`["a"]`)},
			name: "a", args: `[]`,
		},
		{in: `3456[]`, want: Packet{Type: Ack, Namespace: "/", HasID: true, ID: 456, Data: []byte(`[]`)}},
		{in: `3/custom,0[1]`, want: Packet{Type: Ack, Namespace: "/custom", HasID: true, Data: []byte(`[1]`)}},
		{in: `4/random,{"message":"Invalid namespace"}`, want: Packet{Type: ConnectError, Namespace: "/random", Data: []byte(`{"message":"Invalid namespace"}`)}},
		{in: `4"no"`, want: Packet{Type: ConnectError, Namespace: "/", Data: []byte(`"no"`)}},
		{
			in: `52-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`,
			want: Packet{
				Type: BinaryEvent, Namespace: "/", Attachments: 2,
				Data: []byte(`["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`),
			},
			name: "message", args: `[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`,
		},
		{
			in:   `50-["message"]`,
			want: Packet{Type: BinaryEvent, Namespace: "/", Data: []byte(`["message"]`)},
			name: "message", args: `[]`,
		},
		{
			in: `61-/admin,456[{"a":[{"num":0,"_placeholder":true}]}]`,
			want: Packet{
				Type: BinaryAck, Namespace: "/admin", HasID: true, ID: 456, Attachments: 1,
				Data: []byte(`[{"a":[{"num":0,"_placeholder":true}]}]`),
			},
		},
		// Placeholders as JavaScript sees them: the last key counts, false is none, plain events have none.
		{
			in: `51-["a",{"_placeholder":true,"num":9,"\u006eum":0,"_placeholder":true}]`,
			want: Packet{
				Type: BinaryEvent, Namespace: "/", Attachments: 1,
				Data: []byte(`["a",{"_placeholder":true,"num":9,"\u006eum":0,"_placeholder":true}]`),
			},
			name: "a", args: `[{"_placeholder":true,"num":9,"\u006eum":0,"_placeholder":true}]`,
		},
		{
			in:   `50-["a",{"_placeholder":false,"num":9}]`,
			want: Packet{Type: BinaryEvent, Namespace: "/", Data: []byte(`["a",{"_placeholder":false,"num":9}]`)},
			name: "a", args: `[{"_placeholder":false,"num":9}]`,
		},
		{
			in:   `2["a",{"_placeholder":true,"num":9}]`,
			want: Packet{Type: Event, Namespace: "/", Data: []byte(`["a",{"_placeholder":true,"num":9}]`)},
			name: "a", args: `[{"_placeholder":true,"num":9}]`,
		},
	}
	for _, limits := range []Limits{{}, {Known: NewNames("/custom", "message", "a")}} {
		for _, tt := range tests {
			got, err := Decode([]byte(tt.in), limits)
			if err != nil || !equal(got, tt.want) {
				t.Errorf("Decode(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
				continue
			}
			if !got.Type.IsEvent() {
				continue
			}
			name, args, err := got.Event()
			if err != nil || name != tt.name || string(args) != tt.args || got.Name() != tt.name {
				t.Errorf("Event of %q = %q, %s, %v, want %q, %s", tt.in, name, args, err, tt.name, tt.args)
			}
			got.name, got.nameEnd = "", 0
			name, args, err = got.Event()
			if err != nil || name != tt.name || string(args) != tt.args {
				t.Errorf("Event of %q made by hand = %q, %s, %v, want %q, %s", tt.in, name, args, err, tt.name, tt.args)
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		in     string
		reason Reason
		offset int
	}{
		{"", UnknownType, 0},
		{"abc", UnknownType, 0},
		{"7", UnknownType, 0},
		{"2", BadContent, 1},
		{"2{}", BadContent, 1},
		{`2abc["message"]`, BadContent, 1},
		{`2[]`, BadContent, 1},
		{`2[ ]`, BadContent, 1},
		{`2[`, BadContent, 1},
		{`2[{}]`, BadContent, 1},
		{`2[null,1]`, BadContent, 1},
		{`2[["a"]]`, BadContent, 1},
		{`2"a"`, BadContent, 1},
		{`2[-]`, BadJSON, 2},
		{`2["a"`, BadJSON, 5},
		{`2["a",]`, BadJSON, 6},
		{`2["a" 1]`, BadJSON, 6},
		{`2["a"]x`, BadJSON, 6},
		{`2["a"]["b"]`, BadJSON, 6},
		{`2/chat,1["a",tru]`, BadJSON, 13},
		{"2[\"\xff\"]", BadJSON, 3},
		{"2[\"a\n\"]", BadJSON, 4},
		{`2["a\x"]`, BadJSON, 4},
		{`2["connect"]`, ReservedEvent, 2},
		{`2["connect_error"]`, ReservedEvent, 2},
		{`2["disconnect"]`, ReservedEvent, 2},
		{`2["disconnecting"]`, ReservedEvent, 2},
		{`2["newListener"]`, ReservedEvent, 2},
		{`2["removeListener"]`, ReservedEvent, 2},
		{`2["\u0063onnect"]`, ReservedEvent, 2},
		{`50-["connect"]`, ReservedEvent, 4},
		{`29007199254740993["a"]`, BadAckID, 1},
		{`212345678901234567890["a"]`, BadAckID, 1},
		{`3[]`, BadAckID, 1},
		{`61-[{"_placeholder":true,"num":0}]`, BadAckID, 3},
		{`012{}`, BadAckID, 1},
		{`112`, BadAckID, 1},
		{`31{}`, BadContent, 2},
		{`31`, BadContent, 2},
		{`0[]`, BadContent, 1},
		{`0"a"`, BadContent, 1},
		{`0/custom,null`, BadContent, 9},
		{"0\x00", BadContent, 1},
		{`1{}`, BadContent, 1},
		{`4`, BadContent, 1},
		{`4[]`, BadContent, 1},
		{"0/a\x1eb,", BadNamespace, 1},
		{"0/\xff,", BadNamespace, 1},
		{"0/" + strings.Repeat("a", 128), BadNamespace, 1},
		{`5["a"]`, BadAttachmentCount, 1},
		{`5`, BadAttachmentCount, 1},
		{`51`, BadAttachmentCount, 1},
		{`51["a",{"_placeholder":true,"num":0}]`, BadAttachmentCount, 1},
		{`5-1-["a"]`, BadAttachmentCount, 1},
		{`511-["a"]`, BadAttachmentCount, 1},
		{`51-["a"]`, BadPlaceholder, 8},
		{`51-["a",{"_placeholder":true,"num":1}]`, BadPlaceholder, 8},
		{`51-["a",{"_placeholder":true,"num":-1}]`, BadPlaceholder, 8},
		{`51-["a",{"_placeholder":true,"num":0.5}]`, BadPlaceholder, 8},
		{`51-["a",{"_placeholder":true,"num":"0"}]`, BadPlaceholder, 8},
		{`51-["a",{"_placeholder":true}]`, BadPlaceholder, 8},
		{`51-["a",{"\u005fplaceholder":true,"num":7},{"_placeholder":true,"num":0}]`, BadPlaceholder, 8},
		{`50-["a",{"_placeholder":true,"num":0}]`, BadPlaceholder, 8},
		{`52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`, BadPlaceholder, 68},
	}
	for _, tt := range tests {
		got, err := Decode([]byte(tt.in), Limits{})
		e, ok := errors.AsType[*ProtocolError](err)
		if !ok || e.Reason != tt.reason || e.Offset != tt.offset || !equal(got, Packet{}) {
			t.Errorf("Decode(%q) = %+v, %v, want %s at byte %d", tt.in, got, err, tt.reason, tt.offset)
		}
	}
}

func TestDecodeTooDeep(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	tests := []struct {
		in     string
		limits Limits
		want   Packet
		name   string
		deep   bool
	}{
		{in: `2/chat,7["a",` + nested(31) + `]`, want: Packet{Type: Event, Namespace: "/chat", HasID: true, ID: 7, Data: []byte(`["a",` + nested(31) + `]`)}, name: "a"},
		{in: `2/chat,7["a",` + nested(32) + `]`, want: Packet{Type: Event, Namespace: "/chat", HasID: true, ID: 7, TooDeep: true}, name: "a", deep: true},
		{in: `2["a",{"b":{}}]`, limits: Limits{MaxDepth: 2}, want: Packet{Type: Event, Namespace: "/", TooDeep: true}, name: "a", deep: true},
		{in: `2["a",{"b":1}]`, limits: Limits{MaxDepth: 2}, want: Packet{Type: Event, Namespace: "/", Data: []byte(`["a",{"b":1}]`)}, name: "a"},
		{in: `52-["a",` + nested(99), want: Packet{Type: BinaryEvent, Namespace: "/", Attachments: 2, TooDeep: true}, name: "a", deep: true},
		{in: `30` + nested(33), want: Packet{Type: Ack, Namespace: "/", HasID: true, TooDeep: true}, deep: true},
		{in: `0{"a":` + nested(32) + `}`, want: Packet{Type: Connect, Namespace: "/", TooDeep: true}, deep: true},
	}
	for _, tt := range tests {
		got, err := Decode([]byte(tt.in), tt.limits)
		if !equal(got, tt.want) || errors.Is(err, ErrTooDeep) != tt.deep || (err != nil) != tt.deep || got.Name() != tt.name {
			t.Errorf("Decode(%.40q) = %+v, %v, want %+v, too deep %v", tt.in, got, err, tt.want, tt.deep)
		}
		if tt.deep && got.Type.IsEvent() {
			if name, args, err := got.Event(); name != tt.name || string(args) != "[]" || err != nil {
				t.Errorf("Event of %.40q = %q, %s, %v, want %q, []", tt.in, name, args, err, tt.name)
			}
		}
	}
	for _, in := range []string{`2` + nested(40), `2["connect",` + nested(40) + `]`} {
		if _, err := Decode([]byte(in), Limits{}); reasonOf(err) == "" {
			t.Errorf("Decode(%.40q) = %v, want a *ProtocolError", in, err)
		}
	}
}

func TestDecodeLimits(t *testing.T) {
	if _, err := Decode([]byte(`53-["a"]`), Limits{MaxAttachments: 2}); reasonOf(err) != BadAttachmentCount {
		t.Errorf("Decode of 3 attachments with 2 allowed = %v, want %s", err, BadAttachmentCount)
	}
	if _, err := Decode([]byte(`565-["a"]`), Limits{MaxAttachments: 1000}); reasonOf(err) != BadAttachmentCount {
		t.Errorf("Decode of 65 attachments = %v, want %s", err, BadAttachmentCount)
	}
	if _, err := Decode([]byte(`0/abcd,`), Limits{MaxNamespace: 4}); reasonOf(err) != BadNamespace {
		t.Errorf("Decode of a long namespace = %v, want %s", err, BadNamespace)
	}
	all := []byte(`564-["a"`)
	for i := range 64 {
		all = fmt.Appendf(all, `,{"_placeholder":true,"num":%d}`, i)
	}
	if p, err := Decode(append(all, ']'), Limits{MaxAttachments: 64}); err != nil || p.Attachments != 64 {
		t.Errorf("Decode of 64 attachments = %+v, %v, want them", p, err)
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	limits := Limits{Known: NewNames("/chat", "room:send")}
	in := []byte(`2/chat,12["room:send",{"roomId":"general","content":"hello"}]`)
	scratch := make([]byte, 0, 128)
	got := testing.AllocsPerRun(100, func() {
		p, err := Decode(in, limits)
		if err != nil || p.Name() != "room:send" {
			t.Fatal(err)
		}
		scratch = p.AppendArgs(scratch[:0])
		if _, ok := rawjson.First(scratch); !ok {
			t.Fatal("no argument")
		}
	})
	if got != 0 {
		t.Errorf("allocations of Decode with known names = %v, want 0", got)
	}
	binary := []byte(`51-/chat,["room:send",{"file":{"_placeholder":true,"num":0}}]`)
	got = testing.AllocsPerRun(100, func() {
		if _, err := Decode(binary, limits); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("allocations of Decode with a placeholder = %v, want 0", got)
	}
}

func TestEventOfOthers(t *testing.T) {
	for _, p := range []Packet{
		{Type: Ack, Data: []byte(`["a"]`)},
		{Type: Event},
		{Type: Event, Data: []byte(`[]`)},
		{Type: Event, Data: []byte(`{}`)},
		{Type: Event, Data: []byte(`[{}]`)},
		{Type: Event, Data: []byte(`["connect"]`)},
	} {
		if _, _, err := p.Event(); reasonOf(err) == "" {
			t.Errorf("Event of %+v = %v, want a *ProtocolError", p, err)
		}
	}
	deep := Packet{Type: Event, Data: bytes.Repeat([]byte("["), 1<<20)}
	if _, _, err := deep.Event(); !errors.Is(err, ErrTooDeep) {
		t.Errorf("Event of a million brackets = %v, want %v", err, ErrTooDeep)
	}
}
