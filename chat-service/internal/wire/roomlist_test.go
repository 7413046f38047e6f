package wire_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

func TestRoomList(t *testing.T) {
	for args, want := range map[string]usecases.RoomsPage{
		``: {}, `[]`: {}, `["x"]`: {}, `[null]`: {}, `[[1]]`: {},
		`[{}]`: {}, `[{"after":null,"x":1}]`: {}, `[{"kinds":null}]`: {},
		`[{"limit":3,"after":null}]`: {Limit: 3},
		`[{"kinds":["public"]}]`:     {Limit: 200, Kinds: []access.Kind{"public"}},
		`[{"kinds":["direct","x"],"after":"5000000:a:b"}]`: {
			Limit: 200, Kinds: []access.Kind{"direct", "x"}, After: usecases.RoomsCursor{Active: time.Unix(5, 0), Room: "a:b"},
		},
	} {
		got, err := wire.RoomList([]byte(args))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", args, err, diff)
		}
	}
	for _, args := range []string{
		`[{"limit":0}]`, `[{"after":1}]`, `[{"after":""}]`, `[{"after":"r"}]`, `[{"after":":r"}]`, `[{"after":"-1:r"}]`, `[{"after":"99999999999999999:r"}]`,
		`[{"after":"1:"}]`, `[{"after":"1:\u0000"}]`, `[{"kinds":"direct"}]`, `[{"kinds":[1]}]`,
	} {
		if _, err := wire.RoomList([]byte(args)); faulttest.Word(err) != "invalid" {
			t.Errorf("%s = %v, want invalid", args, err)
		}
	}
}
