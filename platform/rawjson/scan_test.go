package rawjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func isSyntax(err error) bool {
	_, ok := errors.AsType[*SyntaxError](err)
	return ok
}

func TestValid(t *testing.T) {
	good := []string{
		`0`, `-0`, `12.5`, `1e5`, `1E+5`, `0.1e-10`, `true`, `false`, `null`, `""`, `"a"`, `[]`, `{}`, ` [ ] `,
		"\t\r\n {\"a\" : [1, 2 ,{\"b\":null}]}\n", `"\u00e9\ud800"`, `"abcdefghijklmnop\"qrstuvw"`, `"éééééééé€😀"`,
		`[1,"2",true,null,{"":{}}]`, "\"\x7f\"", `{"a":1,"a":2}`,
	}
	bad := []string{
		``, ` `, `01`, `-`, `+1`, `1.`, `.5`, `1e`, `1e+`, `0x1`, `tru`, `truee`, `nul`, `"`, `"\"`, `"\u12g4"`, `"\u12"`,
		"\"\x00\"", "\"abcdefg\n\"", "\"abcdefghijk\x1f\"", "\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", `[`, `]`, `[1,]`,
		`[,1]`, `[1 2]`, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{1:1}`, `{"a" 1}`, `{"a":1 "b":2}`, `[]]`, `[}`, `"a"b`,
		"\ufeff[]", "\u00a0[]", "NaN", "'a'", "[1]//", "\v1",
	}
	for _, in := range good {
		if err := Valid([]byte(in), 32); err != nil {
			t.Errorf("Valid(%q) = %v, want nil", in, err)
		}
	}
	for _, in := range bad {
		if err := Valid([]byte(in), 32); !isSyntax(err) {
			t.Errorf("Valid(%q) = %v, want a *SyntaxError", in, err)
		}
	}
	deep := strings.Repeat(`{"a":[`, 16) + strings.Repeat(`]}`, 16)
	if err := Valid([]byte(deep), 32); err != nil {
		t.Errorf("Valid of 32 levels = %v, want nil", err)
	}
	if err := Valid([]byte(deep), 31); !errors.Is(err, ErrTooDeep) {
		t.Errorf("Valid of 32 levels with 31 allowed = %v, want %v", err, ErrTooDeep)
	}
}

// TestScanner watches members of objects and finds the first element.
func TestScanner(t *testing.T) {
	data := []byte(` [ {"n":1,"w":[{"\u0077":2}],"w":3} , {"n":4}, {"w":5} ] `)
	var got []string
	s := Scanner{Data: data, MaxDepth: 9, Watch: &Watch{Names: [2]string{"w", "n"}, Object: func(open int, watched [2]Span) bool {
		got = append(got, fmt.Sprintf("%d w=%s n=%s", open, data[watched[0].Start:watched[0].End], data[watched[1].Start:watched[1].End]))
		return true
	}}}
	if err := s.Scan(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"15 w=2 n=", "3 w=3 n=1", "47 w=5 n="}; !slices.Equal(got, want) {
		t.Errorf("objects = %q, want %q", got, want)
	}
	if first := string(data[s.First.Start:s.First.End]); first != `{"n":1,"w":[{"\u0077":2}],"w":3}` || s.End != len(data)-1 {
		t.Errorf("first element = %s, end %d, want the object and %d", first, s.End, len(data)-1)
	}
	s = Scanner{Data: data, MaxDepth: 9, Watch: &Watch{Names: [2]string{"w"}, Object: func(int, [2]Span) bool { return false }}}
	if err := s.Scan(); !errors.Is(err, ErrRefused) {
		t.Errorf("Scan = %v, want %v", err, ErrRefused)
	}
}

// TestSkipPlain puts every byte at every place of a word.
func TestSkipPlain(t *testing.T) {
	for c := range 256 {
		stops := c < 0x20 || c >= 0x80 || c == '"' || c == '\\'
		for at := range 20 {
			data := []byte(strings.Repeat("a", 24))
			data[at] = byte(c)
			want := len(data)
			if stops {
				want = at
			}
			if got := skipPlain(data, 0); got != want {
				t.Fatalf("skipPlain with %#x at %d = %d, want %d", c, at, got, want)
			}
		}
	}
}

func BenchmarkValid(b *testing.B) {
	data := []byte(`[{"id":"0190a5f2-1c2e-7c3a-9d8b-0123456789ab","roomId":"general","content":"hello, world","seq":42,"timestamp":1720000000000}]`)
	b.Run("Scanner", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if Valid(data, 32) != nil {
				b.Fatal("not valid")
			}
		}
	})
	b.Run("EncodingJSON", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if !json.Valid(data) {
				b.Fatal("not valid")
			}
		}
	})
}
