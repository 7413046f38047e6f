//go:build linux

package swarm

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestCutReadsWhatServersWrite(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 100_000} {
		want := strings.Repeat("x", size)
		raw := ws.MustCompileFrame(ws.NewTextFrame([]byte(want)))
		for _, n := range []int{0, 1, len(raw) - 1} {
			if _, _, ok, err := cut(raw[:n]); ok || err != nil {
				t.Errorf("cut of %d of %d bytes = ok %v, error %v, want an incomplete frame", n, len(raw), ok, err)
			}
		}
		f, rest, ok, err := cut(append(raw, "rest"...))
		if !ok || err != nil || f.op != ws.OpText || string(f.payload) != want || string(rest) != "rest" {
			t.Errorf("cut of a frame with %d bytes = %d bytes, rest %q, ok %v, error %v", size, len(f.payload), rest, ok, err)
		}
	}
	for name, raw := range map[string][]byte{"masked": {0x81, 0x80, 0, 0, 0, 0}, "fragment": {0x01, 0}, "extension": {0xc1, 0}} {
		if _, _, _, err := cut(raw); err == nil {
			t.Errorf("cut of a %s frame = no error, want one", name)
		}
	}
}

func TestAppendFrameIsWhatServersRead(t *testing.T) {
	for _, size := range []int{0, 125, 126, 65535, 65536} {
		want := strings.Repeat("y", size)
		f, err := ws.ReadFrame(bytes.NewReader(appendFrame(nil, ws.OpText, []byte(want), [4]byte{1, 2, 3, 4})))
		if err != nil {
			t.Fatalf("ReadFrame of %d bytes: %v", size, err)
		}
		masked := f.Header.Masked
		if f = ws.UnmaskFrame(f); string(f.Payload) != want || !masked || !f.Header.Fin {
			t.Errorf("appendFrame of %d bytes arrives as %d bytes, header %+v", size, len(f.Payload), f.Header)
		}
	}
}

func TestParsePacket(t *testing.T) {
	for _, c := range []struct {
		in    string
		event bool
		ok    bool
		id    int64
		name  string
	}{
		{`["message:new",{"seq":5}]`, true, true, -1, "message:new"},
		{`17["a"]`, true, true, 17, "a"},
		{`0[{"ok":true}]`, false, true, 0, ""},
		{`/chat,["a"]`, true, false, -1, ""},
		{`[]`, true, false, -1, ""},
		{`["a`, true, false, -1, ""},
		{``, true, false, -1, ""},
	} {
		p, ok := parsePacket([]byte(c.in), c.event)
		if ok != c.ok || p.ID != c.id || string(p.Name) != c.name {
			t.Errorf("parsePacket(%q) = %d %q %v, want %d %q %v", c.in, p.ID, p.Name, ok, c.id, c.name, c.ok)
		}
	}
}

func TestInt(t *testing.T) {
	for in, want := range map[string]int64{`{"seq":12,"a":1}`: 12, `{"seq":0}`: 0, `{"seq":"x"}`: -1, `{}`: -1} {
		got, ok := Int([]byte(in), []byte(`"seq":`))
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("Int(%q) = %d, want %d", in, got, want)
		}
	}
}
