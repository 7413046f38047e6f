package socketio

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

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
		if err := Valid([]byte(in), 32); reasonOf(err) != BadJSON {
			t.Errorf("Valid(%q) = %v, want %s", in, err, BadJSON)
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

func TestSplitArgs(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{`[]`, nil},
		{` [ ] `, nil},
		{`[1]`, []string{`1`}},
		{`["a,]\"",{"b":[1,2]}, [ ] ,null , -1.5e3]`, []string{`"a,]\""`, `{"b":[1,2]}`, `[ ]`, `null`, `-1.5e3`}},
		{`["\\",{"a":"}"}]`, []string{`"\\"`, `{"a":"}"}`}},
		{`{}`, nil},
		{``, nil},
	}
	for _, tt := range tests {
		var got []string
		for arg := range SplitArgs([]byte(tt.in)) {
			got = append(got, string(arg))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("SplitArgs(%s) = %q, want %q", tt.in, got, tt.want)
		}
		first, ok := FirstArg([]byte(tt.in))
		if ok != (len(tt.want) > 0) || ok && string(first) != tt.want[0] {
			t.Errorf("FirstArg(%s) = %q, %v, want the first of %q", tt.in, first, ok, tt.want)
		}
	}
}

func TestField(t *testing.T) {
	tests := []struct {
		in, name, want string
		ok             bool
	}{
		{`{"token":"t","pid":"p","offset":"o"}`, "pid", `"p"`, true},
		{` { "a" : { "pid" : 1 } , "pid" : [ 2 ] } `, "pid", `[ 2 ]`, true},
		{`{"pid":1,"p\u0069d":2}`, "pid", `2`, true},
		{`{"a":{"pid":1}}`, "pid", "", false},
		{`{"a":"pid"}`, "pid", "", false},
		{`{}`, "pid", "", false},
		{`["pid",1]`, "pid", "", false},
		{``, "pid", "", false},
		{`{"pid"`, "pid", "", false},
		{`{"pid":`, "pid", "", false},
	}
	for _, tt := range tests {
		if got, ok := Field([]byte(tt.in), tt.name); string(got) != tt.want || ok != tt.ok {
			t.Errorf("Field(%s, %s) = %s, %v, want %s, %v", tt.in, tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

// FuzzValid compares the scanner with encoding/json, which does not check UTF-8, and SplitArgs and Field with its
// decoder. Both must also survive JSON that nobody checked.
func FuzzValid(f *testing.F) {
	for _, seed := range []string{
		`["a",{"b":[1,2.5e-3,true,null]},"é\u00e9\"\\"]`, `{"a":1,"a":{"b":[]}}`, ` [ 1 , 2 ] `, `-0.1E+9`, `"\ud800\udc00"`, "\"\xff\"", `[[[[`, `{"a":`,
		`{"":0,"_placeholder":true,"num":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		elements := 0
		for range SplitArgs(data) {
			elements++
		}
		field, found := Field(data, "a")
		err := Valid(data, 10_000)
		if got, want := err == nil, json.Valid(data) && utf8.Valid(data); got != want {
			t.Fatalf("Valid(%q) = %v, want %v", data, err, want)
		}
		if err != nil {
			return
		}
		var array []json.RawMessage
		if json.Unmarshal(data, &array) == nil && len(array) != elements {
			t.Fatalf("elements of SplitArgs(%s) = %d, want %d", data, elements, len(array))
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) == nil {
			if want, ok := object["a"]; string(want) != string(field) || ok != found {
				t.Fatalf("Field(%s, a) = %s, %v, want %s, %v", data, field, found, want, ok)
			}
		}
	})
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
