package rawjson

import (
	"encoding/json"
	"testing"
)

func TestAppendString(t *testing.T) {
	tests := map[string]string{
		"":                          `""`,
		"abc":                       `"abc"`,
		"\"\\/":                     `"\"\\/"`,
		"\b\f\n\r\t\x00\x1f\x7f":    "\"\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\"",
		"é€😀\u2028<&>":              "\"é€😀\u2028<&>\"",
		"a\xffb\xc3":                "\"a\uFFFDb\uFFFD\"",
		"\xed\xa0\x80":              "\"\uFFFD\uFFFD\uFFFD\"",
		"\uFFFDx":                   "\"\uFFFDx\"",
		"no escape then one \"here": `"no escape then one \"here"`,
	}
	for in, want := range tests {
		if got := string(AppendString(nil, in)); got != want {
			t.Errorf("AppendString(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestAppendStrings(t *testing.T) {
	for want, list := range map[string][]string{`[]`: nil, `["a"]`: {"a"}, `["a\"","","c"]`: {`a"`, "", "c"}} {
		if got := string(AppendStrings(nil, list)); got != want {
			t.Errorf("AppendStrings(%q) = %s, want %s", list, got, want)
		}
	}
}

func TestUnquote(t *testing.T) {
	tests := []struct {
		in, want string
		ok       bool
	}{
		{`""`, "", true},
		{`"abc"`, "abc", true},
		{`"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t", true},
		{`"\u0041\u00e9\u20AC"`, "Aé€", true},
		{`"\ud83d\ude00é"`, "😀é", true},
		{`"\ud83d"`, "\uFFFD", true},
		{`"\ud83d\u0041"`, "\uFFFDA", true},
		{`"\ude00\ud83d"`, "\uFFFD\uFFFD", true},
		{`1`, "", false},
		{`"`, "", false},
		{``, "", false},
		{`"\"`, "", false},
		{`"\x"`, "", false},
	}
	for _, tt := range tests {
		if got, ok := Unquote([]byte(tt.in)); got != tt.want || ok != tt.ok {
			t.Errorf("Unquote(%s) = %q, %v, want %q, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

// FuzzString compares quoting with encoding/json and reads it back.
func FuzzString(f *testing.F) {
	f.Add("hello \"world\"\n\x00 é€😀\u2028 \xff")
	f.Fuzz(func(t *testing.T, s string) {
		quoted := AppendString(nil, s)
		if err := Valid(quoted, 1); err != nil {
			t.Fatalf("Valid(AppendString(%q)) = %v, want nil", s, err)
		}
		var want string
		if err := json.Unmarshal(quoted, &want); err != nil {
			t.Fatalf("json.Unmarshal(%s): %v", quoted, err)
		}
		if got, ok := Unquote(quoted); got != want || !ok {
			t.Fatalf("Unquote(%s) = %q, %v, want %q", quoted, got, ok, want)
		}
		if canonical := string([]rune(s)); want != canonical {
			t.Fatalf("AppendString(%q) reads back as %q, want %q", s, want, canonical)
		}
	})
}

func TestIs(t *testing.T) {
	tests := []struct {
		raw, text string
		is        bool
	}{
		{`"num"`, "num", true},
		{`"n\u0075m"`, "num", true},
		{`"nu"`, "num", false},
		{`"numb"`, "num", false},
		{`"n\\m"`, "num", false},
		{`""`, "", true},
		{`"`, "", false},
		{`12`, "1", false},
		{``, "", false},
	}
	for _, tt := range tests {
		if got := Is([]byte(tt.raw), tt.text); got != tt.is {
			t.Errorf("Is(%s, %s) = %v, want %v", tt.raw, tt.text, got, tt.is)
		}
	}
}
