package socketio

import (
	"errors"
	"testing"
)

func must(dst []byte, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return string(dst)
}

// appendPacket appends p as it is: header and Data. It is the reverse of Decode.
func appendPacket(dst []byte, p Packet) []byte {
	id := int64(NoID)
	if p.HasID {
		id = p.ID
	}
	return append(appendHeader(dst, p.Type, p.Attachments, p.Namespace, id), p.Data...)
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
		{string(appendPacket(nil, Packet{Type: Ack, HasID: true, ID: 3, Namespace: "/a", Data: []byte("[]")})), `3/a,3[]`},
		{string(appendPacket(nil, Packet{Type: Event, ID: 3, Data: []byte(`["a"]`)})), `2["a"]`},
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
	}
	for name, call := range calls {
		got, err := call()
		if _, ok := errors.AsType[*UsageError](err); !ok || string(got) != "x" {
			t.Errorf("append, %s = %q, %v, want %q and a *UsageError", name, got, err, "x")
		}
	}
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
