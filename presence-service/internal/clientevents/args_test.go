package clientevents

import (
	"errors"
	"testing"

	"github.com/starling-chat/starling/presence-service/internal/presence"
	"github.com/starling-chat/starling/proto/fault"
)

func FuzzParseGet(f *testing.F) {
	for _, seed := range []string{
		``, `[]`, `[{}]`, `[null]`, `[{"userIds":["a","b"]}]`, `[{"userIds":[null]}]`, `[{"roomId":"r"},1]`, `[{"roomId":{}}]`, `{"a":[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		args, err := parseGet(raw)
		if err != nil {
			if !errors.Is(err, fault.New(fault.Invalid, "")) {
				t.Errorf("parseGet(%q) = %v, want invalid", raw, err)
			}
			return
		}
		if (args.room == "") == (len(args.users) == 0) || len(args.users) > presence.MaxAsked {
			t.Errorf("parseGet(%q) = %v, want a room or 1 to %d users", raw, args, presence.MaxAsked)
		}
	})
}
