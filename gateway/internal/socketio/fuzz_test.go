package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/starling-chat/starling/platform/rawjson"
)

// FuzzDecode decodes, encodes, decodes again, and takes apart what it got.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`0`, `0{"token":"t"}`, `0/custom,{"a":1}`, `1/custom,`, `2["message",1,"2",{"3":[true]}]`, `2/chat,456["a"]`, `29007199254740992[7]`,
		`3456[]`, `4/random,{"message":"Invalid namespace"}`, twoAttachments, `61-/admin,456[{"_placeholder":true,"num":0}]`,
		`2["\u0063onnect"]`, "2 [ \"a\\n\" , 1 ] ", `4abc`, `2{}`, `2abc[]`, "2[\"\xff\"]", `2["a",[[[[[[`,
	} {
		f.Add([]byte(seed))
	}
	limits := Limits{MaxDepth: 5, Known: NewNames("/chat", "message")}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Decode(data, limits)
		switch {
		case errors.Is(err, ErrTooDeep):
			if !p.TooDeep || p.Data != nil || p.Namespace == "" {
				t.Fatalf("Decode(%q) = %+v, %v, want a header without content", data, p, err)
			}
			return
		case err != nil:
			if reasonOf(err) == "" || !equal(p, Packet{}) {
				t.Fatalf("Decode(%q) = %+v, %v, want nothing and a *ProtocolError", data, p, err)
			}
			return
		}
		if len(p.Data) > 0 && (!json.Valid(p.Data) || rawjson.Valid(p.Data, limits.MaxDepth) != nil) {
			t.Fatalf("Decode(%q) = %+v, want valid JSON", data, p)
		}
		encoded := appendPacket(nil, p)
		again, err := Decode(encoded, limits)
		if err != nil || !equal(again, p) || again.Name() != p.Name() {
			t.Fatalf("Decode(%q) = %+v, %v, want %+v", encoded, again, err, p)
		}
		if p.Type.IsEvent() {
			checkEvent(t, p)
		}
	})
}

// checkEvent compares an event's parts with what encoding/json makes of it, and puts it together again.
func checkEvent(t *testing.T, p Packet) {
	t.Helper()
	name, args, err := p.Event()
	if err != nil {
		t.Fatalf("Event of %s: %v", p.Data, err)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(p.Data, &all); err != nil {
		t.Fatalf("json.Unmarshal(%s): %v", p.Data, err)
	}
	rest := 0
	for arg := range rawjson.Split(args) {
		if rest++; rest >= len(all) || !bytes.Equal(arg, all[rest]) {
			t.Fatalf("argument %d of %s = %s, want that of %s", rest, args, arg, all)
		}
	}
	if rest != len(all)-1 || !json.Valid(args) {
		t.Fatalf("arguments of %s = %s, want those of %s", p.Data, args, all)
	}
	var want string
	if json.Unmarshal(all[0], &want) == nil && name != want {
		t.Fatalf("name of %s = %q, want %q", p.Data, name, want)
	}
	if Reserved(name) {
		t.Fatalf("name of %s = %q, want no reserved one", p.Data, name)
	}

	id := int64(NoID)
	if p.HasID {
		id = p.ID
	}
	encoded, err := AppendEvent(nil, p.Namespace, id, name, args, p.Attachments)
	if err != nil {
		t.Fatalf("AppendEvent(%q, %s): %v", name, args, err)
	}
	again, err := Decode(encoded, Limits{})
	if err != nil || again.Name() != name || again.HasID != p.HasID || again.ID != p.ID || again.Namespace != p.Namespace {
		t.Fatalf("Decode(%s) = %+v, %v, want %+v", encoded, again, err, p)
	}
	n := 0
	for range rawjson.Split(again.AppendArgs(nil)) {
		n++
	}
	if n != rest {
		t.Fatalf("arguments of %s = %d, want %d", encoded, n, rest)
	}
}

func BenchmarkDecode(b *testing.B) {
	known := Limits{Known: NewNames("/chat", "room:send")}
	small := `2/chat,12["room:send",{"roomId":"general","content":"hello, world"}]`
	tests := []struct {
		name, in string
		limits   Limits
	}{
		{"Event64B", small, known},
		{"Event64BUnknownNames", small, Limits{}},
		{"Event180B", `2/chat,12["room:send",{"roomId":"0190a5f2-1c2e-7c3a-9d8b-0123456789ab","content":"a message of the usual length, typed by somebody who is in no hurry at all","clientId":"c-123456"}]`, known},
		{"Event16KiB", `2/chat,12["room:send",{"roomId":"general","content":"` + string(bytes.Repeat([]byte("hello, world é "), 1024)) + `"}]`, known},
		{"Ack", `3/chat,12[{"ok":true}]`, known},
		{"BinaryEvent", `51-/chat,["room:send",{"file":{"_placeholder":true,"num":0}}]`, known},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			in := []byte(tt.in)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(in, tt.limits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEvent(b *testing.B) {
	p, err := Decode([]byte(`2/chat,12["room:send",{"roomId":"general","content":"hello, world"}]`), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Event", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := p.Event(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("AppendArgs", func(b *testing.B) {
		var dst []byte
		b.ReportAllocs()
		for b.Loop() {
			dst = p.AppendArgs(dst[:0])
		}
	})
}
