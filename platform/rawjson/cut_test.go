package rawjson

import (
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"
)

func TestSplit(t *testing.T) {
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
		for arg := range Split([]byte(tt.in)) {
			got = append(got, string(arg))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("Split(%s) = %q, want %q", tt.in, got, tt.want)
		}
		first, ok := First([]byte(tt.in))
		if ok != (len(tt.want) > 0) || ok && string(first) != tt.want[0] {
			t.Errorf("First(%s) = %q, %v, want the first of %q", tt.in, first, ok, tt.want)
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

func TestMembers(t *testing.T) {
	for in, want := range map[string][]string{
		`{}`: nil, `[1]`: nil, ``: nil, `{"a"`: nil, ` { "a" : 1 , "b":{"c":[2]},"a": "}" } `: {`"a"=1`, `"b"={"c":[2]}`, `"a"="}"`},
	} {
		var got []string
		for key, value := range Members([]byte(in)) {
			got = append(got, string(key)+"="+string(value))
		}
		if !slices.Equal(got, want) {
			t.Errorf("Members(%s) = %q, want %q", in, got, want)
		}
	}
}

func TestCutsDoNotAllocate(t *testing.T) {
	in := []byte(`[{"roomId":"general","content":"hello, world"},2]`)
	got := testing.AllocsPerRun(100, func() {
		first, _ := First(in)
		if content, ok := Field(first, "content"); !ok || !Is(content, "hello, world") || Valid(in, 32) != nil {
			t.Fatal("no content")
		}
	})
	if got != 0 {
		t.Errorf("allocations of Valid, First and Field = %v, want 0", got)
	}
}

// FuzzValid compares the scanner with encoding/json, which does not check UTF-8, and Split and Field with its
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
		for range Split(data) {
			elements++
		}
		field, found := Field(data, "a")
		members := 0
		for range Members(data) {
			members++
		}
		err := Valid(data, 10_000)
		if got, want := err == nil, json.Valid(data) && utf8.Valid(data); got != want {
			t.Fatalf("Valid(%q) = %v, want %v", data, err, want)
		}
		if err != nil {
			return
		}
		var array []json.RawMessage
		if json.Unmarshal(data, &array) == nil && len(array) != elements {
			t.Fatalf("elements of Split(%s) = %d, want %d", data, elements, len(array))
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) == nil {
			if members < len(object) {
				t.Fatalf("Members(%s) yields %d, want at least %d", data, members, len(object))
			}
			if want, ok := object["a"]; string(want) != string(field) || ok != found {
				t.Fatalf("Field(%s, a) = %s, %v, want %s, %v", data, field, found, want, ok)
			}
		}
	})
}
