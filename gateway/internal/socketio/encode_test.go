package socketio

import (
	"encoding/json"
	"errors"
	"testing"
)

func must(dst []byte, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return string(dst)
}

func TestAppend(t *testing.T) {
	tests := []struct {
		got, want string
	}{
		{string(AppendConnect(nil, "/", []byte(`{"sid":"a"}`))), `0{"sid":"a"}`},
		{string(AppendConnect(nil, "/custom", []byte(`{"sid":"a","pid":"b"}`))), `0/custom,{"sid":"a","pid":"b"}`},
		{string(AppendConnect(nil, "/custom", nil)), `0/custom,`},
		{string(AppendConnectError(nil, "/random", "Invalid namespace", nil)), `4/random,{"message":"Invalid namespace"}`},
		{string(AppendConnectError(nil, "/", `a"b`, []byte(`{"code":1}`))), `4{"message":"a\"b","data":{"code":1}}`},
		{string(AppendDisconnect(nil, "/")), `1`},
		{string(AppendDisconnect([]byte("4"), "/custom")), `41/custom,`},
		{must(AppendEvent(nil, "", NoID, "auth", []byte(`[{}]`), 0)), `2["auth",{}]`},
		{must(AppendEvent([]byte("4"), "/chat", 0, "a\"b", []byte(`[1,"2"]`), 0)), `42/chat,0["a\"b",1,"2"]`},
		{must(AppendEvent(nil, "/", NoID, "a", nil, 0)), `2["a"]`},
		{must(AppendEvent(nil, "/", NoID, "a", []byte(`[]`), 0)), `2["a"]`},
		{must(AppendEvent(nil, "/", NoID, "a", []byte(" [ \n ] "), 0)), `2["a"]`},
		{must(AppendEvent(nil, "/", NoID, "a", []byte(" [ 1 , 2 ] "), 0)), `2["a",1 , 2]`},
		{must(AppendEvent(nil, "/admin", 456, "f", []byte(`[{"_placeholder":true,"num":0}]`), 1)), `51-/admin,456["f",{"_placeholder":true,"num":0}]`},
		{must(AppendAck(nil, "/", 456, []byte(`[1,"2"]`), 0)), `3456[1,"2"]`},
		{must(AppendAck(nil, "/custom", 0, nil, 0)), `3/custom,0[]`},
		{must(AppendAck(nil, "/", 789, []byte(`[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`), 2)), `62-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`},
		{must(AppendWithOffset(nil, []byte(`42/chat,["a",{"b":1}]`), "z9")), `42/chat,["a",{"b":1},"z9"]`},
		{must(AppendWithOffset([]byte("x"), []byte(`2["a"]`), `"`)), `x2["a","\""]`},
		{string(Append(nil, Packet{Type: Ack, HasID: true, ID: 3, Namespace: "/a", Data: []byte("[]")})), `3/a,3[]`},
		{string(Append(nil, Packet{Type: Event, ID: 3, Data: []byte(`["a"]`)})), `2["a"]`},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("appended %s, want %s", tt.got, tt.want)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	calls := map[string]func() ([]byte, error){
		"args no array":     func() ([]byte, error) { return AppendEvent([]byte("x"), "/", NoID, "a", []byte(`{}`), 0) },
		"args half a pair":  func() ([]byte, error) { return AppendEvent([]byte("x"), "/", NoID, "a", []byte(`[`), 0) },
		"args only space":   func() ([]byte, error) { return AppendEvent([]byte("x"), "/", NoID, "a", []byte(` `), 0) },
		"reserved":          func() ([]byte, error) { return AppendEvent([]byte("x"), "/", NoID, "disconnect", nil, 0) },
		"id":                func() ([]byte, error) { return AppendEvent([]byte("x"), "/", MaxID+1, "a", nil, 0) },
		"attachments":       func() ([]byte, error) { return AppendEvent([]byte("x"), "/", NoID, "a", nil, 65) },
		"attachments below": func() ([]byte, error) { return AppendAck([]byte("x"), "/", 0, nil, -1) },
		"ack without id":    func() ([]byte, error) { return AppendAck([]byte("x"), "/", NoID, nil, 0) },
		"offset":            func() ([]byte, error) { return AppendWithOffset([]byte("x"), []byte("1"), "a") },
		"offset of nothing": func() ([]byte, error) { return AppendWithOffset([]byte("x"), nil, "a") },
	}
	for name, call := range calls {
		got, err := call()
		if _, ok := errors.AsType[*UsageError](err); !ok || string(got) != "x" {
			t.Errorf("append, %s = %q, %v, want %q and a *UsageError", name, got, err, "x")
		}
	}
}

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

func BenchmarkAppendEvent(b *testing.B) {
	args := []byte(`[{"id":"0190a5f2-1c2e-7c3a-9d8b-0123456789ab","roomId":"general","content":"hello, world","seq":42,"timestamp":1720000000000}]`)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = AppendEvent(dst[:0], "/chat", NoID, "room:message", args, 0)
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkAppendWithOffset(b *testing.B) {
	event := []byte(`42/chat,["room:message",{"id":"0190a5f2-1c2e-7c3a-9d8b-0123456789ab","roomId":"general","content":"hello, world","seq":42}]`)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = AppendWithOffset(dst[:0], event, "AAAAAAAAAbQ.42")
	}
}
