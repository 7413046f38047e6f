package wire_test

import (
	"strings"
	"testing"

	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestRequestKey: the key of an event is in its first argument, or there is none.
func TestRequestKey(t *testing.T) {
	for args, want := range map[string]string{
		``: "", `[]`: "", `["r"]`: "", `[null]`: "", `[{}]`: "", `[{"key":null}]`: "", `["r",{"key":"k"}]`: "", `[{"key":"k"}]`: "k", `[{"key":"a","key":"\u661f"}]`: "星",
	} {
		if got, err := wire.RequestKey([]byte(args)); got != want || err != nil {
			t.Errorf("%s = %q, %v, want %q", args, got, err, want)
		}
	}
	for _, args := range []string{`[{"key":""}]`, `[{"key":7}]`, `[{"key":{}}]`, `[{"key":"\u0000"}]`, `[{"key":"` + strings.Repeat("k", 65) + `"}]`, `{`} {
		if _, err := wire.RequestKey([]byte(args)); faulttest.Word(err) != "invalid" {
			t.Errorf("%s = %v, want invalid", args, err)
		}
	}
}
