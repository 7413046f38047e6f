package gateway

import (
	"testing"

	"github.com/starling-chat/starling/platform/settings"
)

// TestPacketLimit: a packet holds the largest event, whatever that is set to, and one that is somewhat larger, which is refused with
// a word.
func TestPacketLimit(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want int
	}{
		{nil, 256 << 10},
		{[]string{"--max-event-bytes=2000000"}, 8_000_000},
		{[]string{"--max-event-bytes=100"}, firstPayload},
		{[]string{"--max-payload=1000000"}, 1_000_000},
	} {
		var cfg Config
		if err := settings.Parse("gateway", "", &cfg, tc.args); err != nil {
			t.Fatal(err)
		}
		if got := cfg.maxPayload(); got != tc.want {
			t.Errorf("%q: packets of %d bytes, want %d", tc.args, got, tc.want)
		}
	}
}
