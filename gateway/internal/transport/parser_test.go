package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/google/go-cmp/cmp"
)

// wire makes a client's frame.
func wire(first byte, payload []byte) []byte {
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	masked := append([]byte(nil), payload...)
	ws.Cipher(masked, mask, 0)
	return append(b, masked...)
}

const fin = 0x80

func text(s string) []byte { return wire(fin|opText, []byte(s)) }

// events notes what the parser says.
type events struct{ list []string }

func (e *events) message(data []byte, binary bool) {
	e.list = append(e.list, fmt.Sprintf("%v:%s", map[bool]string{true: "binary", false: "text"}[binary], data))
}
func (e *events) ping(data []byte) { e.list = append(e.list, "ping:"+string(data)) }

// parse feeds the pieces and gives what came out, with the error as the last event.
func parse(p *parser, pieces ...[]byte) []string {
	var e events
	for _, piece := range pieces {
		if err := p.feed(bytes.Clone(piece), &e, func() bool { return false }); err != nil {
			if refusal, ok := errors.AsType[*closeError](err); ok {
				return append(e.list, fmt.Sprintf("error:%d:%s", refusal.code, refusal.reason))
			}
			return append(e.list, "end")
		}
	}
	return e.list
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestParser(t *testing.T) {
	long := strings.Repeat("x", 200)
	longer := strings.Repeat("y", 70_000)
	unmasked := []byte{fin | opText, 1, 'a'}
	claims := func(op byte, n uint64) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{op, 0x80 | 127}, n), 1, 2, 3, 4)
	}
	for name, tc := range map[string]struct {
		in   []byte
		want []string
	}{
		"nothing":                  {nil, nil},
		"text":                     {text("hello"), []string{"text:hello"}},
		"empty text":               {text(""), []string{"text:"}},
		"binary":                   {wire(fin|opBinary, []byte{0xff, 0}), []string{"binary:\xff\x00"}},
		"16-bit length":            {text(long), []string{"text:" + long}},
		"64-bit length":            {text(longer), []string{"text:" + longer}},
		"several":                  {join(text("a"), text("b"), wire(fin|opBinary, []byte("c"))), []string{"text:a", "text:b", "binary:c"}},
		"incomplete":               {text("hello")[:8], nil},
		"ping and pong":            {join(wire(fin|opPing, []byte("p")), wire(fin|opPong, []byte("q"))), []string{"ping:p"}},
		"largest ping":             {wire(fin|opPing, bytes.Repeat([]byte("p"), 125)), []string{"ping:" + strings.Repeat("p", 125)}},
		"close":                    {join(wire(fin|opClose, []byte{3, 232}), text("after")), []string{"end"}},
		"close without code":       {wire(fin|opClose, nil), []string{"end"}},
		"fragments":                {join(wire(opText, []byte("a")), wire(opContinuation, []byte("b")), wire(fin|opContinuation, []byte("c"))), []string{"text:abc"}},
		"binary fragments":         {join(wire(opBinary, []byte("a")), wire(fin|opContinuation, []byte("b"))), []string{"binary:ab"}},
		"empty fragments":          {join(wire(opText, nil), wire(opContinuation, nil), wire(fin|opContinuation, nil), text("z")), []string{"text:", "text:z"}},
		"ping between fragments":   {join(wire(opText, []byte("a")), wire(fin|opPing, nil), wire(fin|opContinuation, []byte("b"))), []string{"ping:", "text:ab"}},
		"close between fragments":  {join(wire(opText, []byte("a")), wire(fin|opClose, nil)), []string{"end"}},
		"rune cut by fragments":    {join(wire(opText, []byte("\xe2\x82")), wire(fin|opContinuation, []byte("\xac"))), []string{"text:€"}},
		"not UTF-8":                {text("a\xff"), []string{"error:1007:protocol"}},
		"fragments not UTF-8":      {join(wire(opText, []byte("\xe2\x82")), wire(fin|opContinuation, []byte("a"))), []string{"error:1007:protocol"}},
		"no mask":                  {unmasked, []string{"error:1002:protocol"}},
		"no mask, second byte":     {unmasked[:2], []string{"error:1002:protocol"}},
		"no mask, long, at once":   {[]byte{fin | opText, 127}, []string{"error:1002:protocol"}},
		"good, then no mask":       {join(text("a"), unmasked), []string{"text:a", "error:1002:protocol"}},
		"RSV1 (compression)":       {wire(fin|0x40|opText, []byte("a")), []string{"error:1002:protocol"}},
		"RSV3":                     {wire(fin|0x10|opText, []byte("a")), []string{"error:1002:protocol"}},
		"unknown data frame":       {wire(fin|0x3, nil), []string{"error:1002:protocol"}},
		"unknown control frame":    {wire(fin|0xb, nil), []string{"error:1002:protocol"}},
		"ping too long":            {wire(fin|opPing, make([]byte, 126)), []string{"error:1002:protocol"}},
		"fragmented ping":          {wire(opPing, nil), []string{"error:1002:protocol"}},
		"fragmented close":         {wire(opClose, nil), []string{"error:1002:protocol"}},
		"stray continuation":       {wire(fin|opContinuation, []byte("a")), []string{"error:1002:protocol"}},
		"text inside fragments":    {join(wire(opText, nil), text("b")), []string{"error:1002:protocol"}},
		"continuation after end":   {join(wire(opText, nil), wire(fin|opContinuation, nil), wire(fin|opContinuation, nil)), []string{"text:", "error:1002:protocol"}},
		"largest message":          {text(strings.Repeat("m", testMax)), []string{"text:" + strings.Repeat("m", testMax)}},
		"over the limit":           {text(strings.Repeat("m", testMax+1))[:14], []string{"error:1009:too_big"}}, // by its header
		"claims 2^62":              {claims(fin|opText, 1<<62), []string{"error:1009:too_big"}},
		"claims 2^63":              {claims(fin|opText, 1<<63), []string{"error:1002:protocol"}},
		"fragments over the limit": {join(wire(opText, make([]byte, testMax)), wire(fin|opContinuation, []byte("1"))), []string{"error:1009:too_big"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &parser{maxMessage: testMax}
			if diff := cmp.Diff(tc.want, parse(p, tc.in)); diff != "" {
				t.Errorf("feed(% x): -want +got\n%s", tc.in[:min(len(tc.in), 40)], diff)
			}
		})
	}
}

const testMax = 100_000

// everything has each kind of frame that is no error.
func everything() []byte {
	return join(
		text("a"), text(strings.Repeat("b", 130)), wire(fin|opPing, []byte("ping")), wire(opText, []byte("€")[:1]),
		wire(fin|opPong, nil), wire(opContinuation, nil), wire(fin|opContinuation, []byte("€")[1:]), wire(fin|opBinary, []byte{0, 0xff}),
		text(""), wire(fin|opClose, []byte{3, 232, 'b', 'y', 'e'}),
	)
}

func TestParserDoesNotCareWhereBytesAreCut(t *testing.T) {
	stream := everything()
	want := parse(&parser{maxMessage: testMax}, stream)
	if len(want) != 7 {
		t.Fatalf("feed(everything) = %q, want 7 events", want)
	}
	for cut := range stream {
		if diff := cmp.Diff(want, parse(&parser{maxMessage: testMax}, stream[:cut], stream[cut:])); diff != "" {
			t.Fatalf("cut at %d: -want +got\n%s", cut, diff)
		}
	}
	var bytewise [][]byte
	for i := range stream {
		bytewise = append(bytewise, stream[i:i+1])
	}
	if diff := cmp.Diff(want, parse(&parser{maxMessage: testMax}, bytewise...)); diff != "" {
		t.Errorf("byte by byte: -want +got\n%s", diff)
	}
}

// TestParserKeepsNothingWhenIdle guards the memory of an idle conn.
func TestParserKeepsNothingWhenIdle(t *testing.T) {
	p := &parser{maxMessage: testMax}
	parse(p, text("a")[:4], join(text("a")[4:], text("b"), wire(opText, []byte("c"))), wire(fin|opContinuation, []byte("d")))
	if p.rest != nil || p.fragments != nil || p.incomplete() {
		t.Errorf("after whole messages rest = %v, fragments = %v, incomplete = %v, want nothing", p.rest, p.fragments, p.incomplete())
	}
	parse(p, text("a")[:3])
	if !p.incomplete() {
		t.Error("incomplete() = false inside a frame, want true")
	}
}

// TestParserTakesNoMemoryForClaims checks that a header alone makes nothing grow.
func TestParserTakesNoMemoryForClaims(t *testing.T) {
	p := &parser{maxMessage: 1 << 30}
	parse(p, append(binary.BigEndian.AppendUint64([]byte{fin | opBinary, 0x80 | 127}, 1<<29), 1, 2, 3, 4, 5))
	if len(p.rest) != 15 || cap(p.rest) > 4096 {
		t.Errorf("rest has %d of %d bytes after a header that claims 512 MB, want 15 of few", len(p.rest), cap(p.rest))
	}
}

func TestParserStaysLinear(t *testing.T) {
	const size = 1_000_000
	frame := wire(fin|opBinary, make([]byte, size))
	p := &parser{maxMessage: size}
	var e events
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range frame {
		if err := p.feed(frame[i:i+1:i+1], &e, func() bool { return false }); err != nil {
			t.Fatalf("feed(byte %d) = %v, want nil", i, err)
		}
		if got := cap(p.rest); got > 2*(i+1)+1024 {
			t.Fatalf("after %d bytes %d are kept, want at most twice as many", i+1, got)
		}
	}
	runtime.ReadMemStats(&after)
	if len(e.list) != 1 || len(e.list[0]) != len("binary:")+size {
		t.Fatalf("%d messages came, want the one", len(e.list))
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 300*size { // copying each time would take 500,000 times the size
		t.Errorf("a frame of %d bytes took %d bytes of allocations byte by byte, want a bounded multiple", size, got)
	}
}

func TestParserStopsWhenPaused(t *testing.T) {
	p := &parser{maxMessage: testMax}
	var e events
	stream := join(text("a"), text("b"), text("c")[:3])
	if err := p.feed(bytes.Clone(stream), &e, func() bool { return true }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"text:a"}, e.list); diff != "" {
		t.Errorf("paused after the first message: -want +got\n%s", diff)
	}
	rest := p.rest
	p.rest = nil
	if err := p.feed(rest, &e, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	if err := p.feed(text("c")[3:], &e, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"text:a", "text:b", "text:c"}, e.list); diff != "" {
		t.Errorf("resumed: -want +got\n%s", diff)
	}
}

// FuzzParser checks that nothing panics, that what comes out does not depend on how the bytes are cut, and that no more is
// kept than came.
func FuzzParser(f *testing.F) {
	f.Add(everything(), uint16(7))
	f.Add(join(wire(opText, []byte("a")), text("b")), uint16(1))
	f.Add([]byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, uint16(3))
	f.Add([]byte{0x81, 0xfe, 0x00, 0x05, 1, 2, 3, 4, 'h', 'e', 'l', 'l', 'o'}, uint16(2))
	f.Fuzz(func(t *testing.T, data []byte, step uint16) {
		whole := &parser{maxMessage: 1000}
		want := parse(whole, data)
		var pieces [][]byte
		for rest, n := data, int(step%64)+1; len(rest) > 0; rest = rest[min(n, len(rest)):] {
			pieces = append(pieces, rest[:min(n, len(rest))])
		}
		cut := &parser{maxMessage: 1000}
		got := parse(cut, pieces...)
		// An early refusal may come before the whole stream's error, but never another one.
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cut every %d bytes: -whole +cut\n%s", int(step%64)+1, diff)
		}
		if len(cut.rest)+len(cut.fragments) > len(data) || len(cut.fragments) > 1000 || len(cut.rest) > 1000+14 {
			t.Errorf("%d + %d bytes kept of %d", len(cut.rest), len(cut.fragments), len(data))
		}
	})
}
