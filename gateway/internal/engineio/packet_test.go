package engineio

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func message(text string) Packet { return Packet{Type: Message, Data: []byte(text)} }
func binary(b ...byte) Packet    { return Packet{Type: Message, Binary: true, Data: b} }

func equal(a, b Packet) bool {
	return a.Type == b.Type && a.Binary == b.Binary && bytes.Equal(a.Data, b.Data)
}

// collect gathers a payload's packets up to its first error.
func collect(body []byte, maxBytes int) ([]Packet, error) {
	var packets []Packet
	for p, err := range DecodePayload(body, maxBytes) {
		if err != nil {
			return packets, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

func reasonOf(err error) Reason {
	if e, ok := errors.AsType[*ProtocolError](err); ok {
		return e.Reason
	}
	return ""
}

func TestDecodeFrame(t *testing.T) {
	tests := []struct {
		in     string
		binary bool
		want   Packet
		reason Reason
	}{
		{in: "1", want: Packet{Type: Close}},
		{in: "2probe", want: Packet{Type: Ping, Data: []byte("probe")}},
		{in: "3", want: Packet{Type: Pong}},
		{in: "4hello", want: message("hello")},
		{in: "4", want: message("")},
		{in: "4€", want: message("€")},
		{in: "5", want: Packet{Type: Upgrade}},
		{in: "6", want: Packet{Type: Noop}},
		{in: "bAQIDBA==", want: binary(1, 2, 3, 4)},
		{in: "b", want: binary()},
		{in: "bAQIDBA==\n", want: binary(1, 2, 3, 4)}, // Android's encoder
		{in: "bAQID\nBA==\n", want: binary(1, 2, 3, 4)},
		{in: "bAQID\r\nBA==\r\n", want: binary(1, 2, 3, 4)},
		{in: "b AQ\tID BA = =", want: binary(1, 2, 3, 4)},
		{in: "bAQIDBA", want: binary(1, 2, 3, 4)},
		{in: "bAQIDBA=", want: binary(1, 2, 3, 4)},
		{in: "b-_8", want: binary(0xfb, 0xff)},
		{in: "b-_8=", want: binary(0xfb, 0xff)},
		{in: "b+_8\n=", want: binary(0xfb, 0xff)},
		{in: "\x01\x02\x03\x04", binary: true, want: binary(1, 2, 3, 4)},
		{in: "4hello", binary: true, want: binary([]byte("4hello")...)},
		{in: "", binary: true, want: binary()},

		{in: "", reason: EmptyPacket},
		{in: "abc", reason: UnknownType},
		{in: "7", reason: UnknownType},
		{in: "/", reason: UnknownType},
		{in: "\x1e", reason: UnknownType},
		{in: "4\xff", reason: InvalidUTF8},
		{in: "4\xed\xa0\x80", reason: InvalidUTF8},
		{in: "bA", reason: InvalidBase64},
		{in: "b!!", reason: InvalidBase64},
		{in: "bAQ==BA==", reason: InvalidBase64},
	}
	for _, tt := range tests {
		got, err := DecodeFrame([]byte(tt.in), tt.binary)
		if !equal(got, tt.want) || reasonOf(err) != tt.reason || (err != nil) != (tt.reason != "") {
			t.Errorf("DecodeFrame(%q, %v) = %+v, %v, want %+v, %q", tt.in, tt.binary, got, err, tt.want, tt.reason)
		}
	}
}

func TestDecodeFrameAliases(t *testing.T) {
	in := []byte("4hello")
	p, err := DecodeFrame(in, false)
	if err != nil || &p.Data[0] != &in[1] {
		t.Errorf("DecodeFrame(%q) = %+v, %v, want data that aliases the input", in, p, err)
	}
}

func TestDecodePayload(t *testing.T) {
	tests := []struct {
		in     string
		max    int
		want   []Packet
		reason Reason
	}{
		{in: "4test1\x1e4test2\x1e4test3", want: []Packet{message("test1"), message("test2"), message("test3")}},
		{in: "4hello\x1ebAQIDBA==", want: []Packet{message("hello"), binary(1, 2, 3, 4)}},
		{in: "3", want: []Packet{{Type: Pong}}},
		{in: "4€", max: 4, want: []Packet{message("€")}},
		{in: "4€", max: 3, reason: PayloadTooLarge},
		{in: "4hello\x1eabc\x1e4x", want: []Packet{message("hello")}, reason: UnknownType},
		{in: "4hello\x1e", want: []Packet{message("hello")}, reason: EmptyPacket},
		{in: "\x1e4hello", reason: EmptyPacket},
		{in: "", reason: EmptyPacket},
		{in: "abc", reason: UnknownType},
	}
	for _, tt := range tests {
		got, err := collect([]byte(tt.in), tt.max)
		same := len(got) == len(tt.want)
		for i := 0; same && i < len(got); i++ {
			same = equal(got[i], tt.want[i])
		}
		if !same || reasonOf(err) != tt.reason || (err != nil) != (tt.reason != "") {
			t.Errorf("DecodePayload(%q, %d) = %+v, %v, want %+v, %q", tt.in, tt.max, got, err, tt.want, tt.reason)
		}
	}
}

func TestDecodePayloadStopsWhenAsked(t *testing.T) {
	n := 0
	for _, err := range DecodePayload([]byte("4a\x1e4b\x1e4c"), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("loops over DecodePayload until break = %d, want 2", n)
	}
}

func TestAppend(t *testing.T) {
	tests := []struct {
		got, want string
	}{
		{string(AppendBase64(nil, []byte{1, 2, 3, 4})), "bAQIDBA=="},
		{string(AppendPolled(AppendPolled(nil, []byte("4hello"), false), []byte{1, 2, 3, 4}, true)), "4hello\x1ebAQIDBA=="},
		{string(AppendPolled(nil, []byte{1, 2, 3, 4}, true)), "bAQIDBA=="},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("appended %q, want %q", tt.got, tt.want)
		}
	}
}

// frameOf gives the content of one WebSocket frame: the bare bytes of a binary message, else the type and the text.
func frameOf(p Packet) []byte {
	if p.Binary {
		return p.Data
	}
	return append([]byte{byte(p.Type)}, p.Data...)
}

// payloadOf makes a polling body of packets.
func payloadOf(packets ...Packet) (body []byte) {
	for _, p := range packets {
		body = AppendPolled(body, frameOf(p), p.Binary)
	}
	return body
}

func TestAppendOpen(t *testing.T) {
	tests := []struct {
		h    Handshake
		want string
	}{
		{
			Handshake{SID: "lv_VI97HAXpY6yYWAAAC", Upgrades: []string{"websocket"}, PingInterval: 25000, PingTimeout: 20000, MaxPayload: 1000000},
			`0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`,
		},
		{
			Handshake{SID: "a", PingInterval: 300, PingTimeout: 200, MaxPayload: 1},
			`0{"sid":"a","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1}`,
		},
		{
			Handshake{SID: "\"\\\x01é", Upgrades: []string{"a", "b"}},
			`0{"sid":"\"\\\u0001é","upgrades":["a","b"],"pingInterval":0,"pingTimeout":0,"maxPayload":0}`,
		},
	}
	for _, tt := range tests {
		if got := string(AppendOpen(nil, tt.h)); got != tt.want {
			t.Errorf("AppendOpen(%+v) = %s, want %s", tt.h, got, tt.want)
		}
	}
}

func TestPacketTypeString(t *testing.T) {
	var names []string
	for c := Open; c <= Noop+1; c++ {
		names = append(names, c.String())
	}
	if got, want := strings.Join(names, " "), "open close ping pong message upgrade noop unknown"; got != want {
		t.Errorf("names of types = %q, want %q", got, want)
	}
}

func FuzzPayload(f *testing.F) {
	for _, seed := range []string{"4hello\x1ebAQIDBA==", "0{}\x1e1\x1e2probe\x1e6", "4€\x1e4", "b\x1eb=", "\x1e", "4\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		packets, err := collect(body, 0)
		if err != nil {
			if reasonOf(err) == "" {
				t.Fatalf("DecodePayload(%q) = %v, want a *ProtocolError", body, err)
			}
			return
		}
		encoded := payloadOf(packets...)
		again, err := collect(encoded, len(encoded))
		if err != nil || len(again) != len(packets) {
			t.Fatalf("DecodePayload(%q) = %+v, %v, want %+v", encoded, again, err, packets)
		}
		for i := range again {
			if !equal(again[i], packets[i]) {
				t.Fatalf("packet %d of %q = %+v, want %+v", i, encoded, again[i], packets[i])
			}
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("4hello"), false)
	f.Add([]byte{1, 2, 3, 4}, true)
	f.Add([]byte("bAQIDBA=="), false)
	f.Fuzz(func(t *testing.T, data []byte, binary bool) {
		p, err := DecodeFrame(data, binary)
		if err != nil {
			return
		}
		again, err := DecodeFrame(frameOf(p), p.Binary)
		if err != nil || !equal(again, p) {
			t.Fatalf("DecodeFrame of %+v = %+v, %v", p, again, err)
		}
	})
}

func BenchmarkDecodeFrame(b *testing.B) {
	frame := []byte(`42/chat,["room:message",{"id":"0190a5f2-1c2e-7c3a-9d8b-0123456789ab","roomId":"general","content":"hello, world"}]`)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeFrame(frame, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendPolled(b *testing.B) {
	frame := []byte(`42/chat,["room:message",{"id":"0190a5f2-1c2e-7c3a-9d8b-0123456789ab","roomId":"general","content":"hello, world"}]`)
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		body = body[:0]
		for range 8 {
			body = AppendPolled(body, frame, false)
		}
	}
}
