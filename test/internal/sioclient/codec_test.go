package sioclient

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestCutFrameReadsWhatServersWrite(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 100_000} {
		want := strings.Repeat("x", size)
		raw := ws.MustCompileFrame(ws.NewTextFrame([]byte(want)))
		for _, n := range []int{0, 1, len(raw) - 1} {
			if _, _, ok, err := CutFrame(raw[:n], 1<<20); ok || err != nil {
				t.Errorf("CutFrame of %d of %d bytes = ok %v, error %v, want an incomplete frame", n, len(raw), ok, err)
			}
		}
		f, rest, ok, err := CutFrame(append(raw, "rest"...), 1<<20)
		if !ok || err != nil || f.Op != ws.OpText || string(f.Payload) != want || string(rest) != "rest" {
			t.Errorf("CutFrame of a frame with %d bytes = %d bytes, rest %q, ok %v, error %v", size, len(f.Payload), rest, ok, err)
		}
	}
	for name, raw := range map[string][]byte{"masked": {0x81, 0x80, 0, 0, 0, 0}, "fragment": {0x01, 0}, "extension": {0xc1, 0}} {
		if _, _, _, err := CutFrame(raw, 1<<20); err == nil {
			t.Errorf("CutFrame of a %s frame = no error, want one", name)
		}
	}
}

func TestAppendFrameIsWhatServersRead(t *testing.T) {
	for _, size := range []int{0, 125, 126, 65535, 65536} {
		want := strings.Repeat("y", size)
		f, err := ws.ReadFrame(bytes.NewReader(AppendFrame(nil, ws.OpText, []byte(want), [4]byte{1, 2, 3, 4})))
		if err != nil {
			t.Fatalf("ReadFrame of %d bytes: %v", size, err)
		}
		masked := f.Header.Masked
		if f = ws.UnmaskFrame(f); string(f.Payload) != want || !masked || !f.Header.Fin {
			t.Errorf("AppendFrame of %d bytes arrives as %d bytes, header %+v", size, len(f.Payload), f.Header)
		}
	}
}

func TestCutFrameRefusesWhatIsTooLarge(t *testing.T) {
	raw := ws.MustCompileFrame(ws.NewTextFrame(make([]byte, 1001)))
	if _, _, _, err := CutFrame(raw, 1000); !errors.Is(err, errFrameSize) {
		t.Errorf("CutFrame of 1001 bytes with a limit of 1000 = %v, want %v", err, errFrameSize)
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]Packet{
		`0{"sid":"a"}`:                    {Kind: Open, ID: NoAck, Body: []byte(`{"sid":"a"}`)},
		`1`:                               {Kind: Close, ID: NoAck},
		`2`:                               {Kind: Ping, ID: NoAck},
		`6`:                               {Kind: Other, ID: NoAck},
		`40{"sid":"a"}`:                   {Kind: Connect, ID: NoAck, Body: []byte(`{"sid":"a"}`)},
		`41`:                              {Kind: Disconnect, ID: NoAck},
		`42["message:new",{"seq":5}]`:     {Kind: Event, ID: NoAck, Body: []byte(`["message:new",{"seq":5}]`)},
		`4217["a"]`:                       {Kind: Event, ID: 17, Body: []byte(`["a"]`)},
		`42[]`:                            {Kind: Event, ID: NoAck, Body: []byte(`[]`)},
		`42["a`:                           {Kind: Event, ID: NoAck, Body: []byte(`["a`)},
		`42[1]`:                           {Kind: Event, ID: NoAck, Body: []byte(`[1]`)},
		`430[{"ok":true}]`:                {Kind: Ack, ID: 0, Body: []byte(`[{"ok":true}]`)},
		`44{"message":"no"}`:              {Kind: ConnectError, ID: NoAck, Body: []byte(`{"message":"no"}`)},
		`42/chat,["a"]`:                   {Kind: Foreign, ID: NoAck, Body: []byte(`/chat,["a"]`)},
		`451-["a",{"_placeholder":true}]`: {Kind: Binary, ID: 1, Body: []byte(`-["a",{"_placeholder":true}]`)},
		`43922337203685477580[{"ok":1}]`:  {Kind: Ack, ID: 922337203685477580, Body: []byte(`[{"ok":1}]`)},
	} {
		got, err := Parse([]byte(in))
		if err != nil || show(got) != show(want) {
			t.Errorf("Parse(%q) = %s, %v, want %s", in, show(got), err, show(want))
		}
	}
	for _, in := range []string{``, `4`, `4399999999999999999999[]`} {
		if p, err := Parse([]byte(in)); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", in, p)
		}
	}
}

func show(p Packet) string {
	return fmt.Sprintf("kind %d id %d name %q body %q", p.Kind, p.ID, p.Name(), p.Body)
}

func TestName(t *testing.T) {
	for body, want := range map[string]string{`["message:new",{"seq":5}]`: "message:new", `["a"]`: "a", `[]`: "", `["a`: "", `[1]`: "", `{"a":1}`: "", ``: ""} {
		if got := (Packet{Body: []byte(body)}).Name(); string(got) != want {
			t.Errorf("Name of %s = %q, want %q", body, got, want)
		}
	}
}

func TestAppendedPackets(t *testing.T) {
	event, err := AppendEvent(nil, 7, "message:send", map[string]string{"content": "\u2028<\"é"})
	if err != nil {
		t.Fatal(err)
	}
	read, err := AppendEvent(nil, NoAck, "message:read", "r")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		string(event):                           `427["message:send",{"content":"\u2028\u003c\"é"}]`,
		string(read):                            `42["message:read","r"]`,
		string(BeginEvent(nil, 0, "room:join")): `420["room:join",`,
		string(AppendConnect(nil, Auth{Token: "a.b-c_d"})):                       `40{"token":"a.b-c_d"}`,
		string(AppendConnect(nil, Auth{Token: "t", PID: "p\"", Offset: "1-2é"})): `40{"token":"t","pid":"p\"","offset":"1-2é"}`,
		string(AppendConnect(nil, Auth{Token: "t", Useq: new(uint64(7))})):       `40{"token":"t","useq":7}`,
		string(AppendConnect(nil, Auth{Token: "t", Inbox: true})):                `40{"token":"t","inbox":true}`,
	} {
		if got != want {
			t.Errorf("appended %s, want %s", got, want)
		}
	}
	if _, err := AppendEvent(nil, 0, "x", func() {}); err == nil {
		t.Error("AppendEvent of a function = no error, want one")
	}
}

func TestDecodeEvent(t *testing.T) {
	for in, want := range map[string]string{
		`["message:new",{"seq":1},"offset"]`: `message:new 2 offset`,
		`["users:online",["a"]]`:             `users:online 1 `,
		`["name"]`:                           `name 0 name`,
	} {
		m, err := DecodeEvent([]byte(in))
		if got := fmt.Sprintf("%s %d %s", m.Name, len(m.Args), m.Offset); err != nil || got != want {
			t.Errorf("DecodeEvent(%s) = %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{``, `{}`, `[]`, `[1]`, `["a`} {
		if m, err := DecodeEvent([]byte(in)); err == nil {
			t.Errorf("DecodeEvent(%s) = %+v, want an error", in, m)
		}
	}
}

// TestNoAllocation: what the load generator calls for every packet costs no memory.
func TestNoAllocation(t *testing.T) {
	raw, scratch := ws.MustCompileFrame(ws.NewTextFrame([]byte(`42["message:new",{"seq":5},"offset"]`))), make([]byte, 0, 2<<10)
	out := make([]byte, 0, 2<<10)
	got := testing.AllocsPerRun(100, func() {
		f, _, _, err := CutFrame(raw, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := Parse(f.Payload); err != nil || p.Kind != Event {
			t.Fatal(p.Kind, err)
		}
		b := append(BeginEvent(scratch[:0], 12, "message:send"), `{"roomId":"r"}]`...)
		_ = AppendFrame(out, ws.OpText, b, [4]byte{1, 2, 3, 4})
	})
	if got > 0 {
		t.Errorf("a packet in and a packet out = %v allocations, want none", got)
	}
}
