package check

import (
	"testing"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// TestMayBeUp: others may be told of a connection whose client has not yet read the answer, as one that polls does late.
func TestMayBeUp(t *testing.T) {
	x := newIndex(&history.History{
		Users: []history.User{{ID: "late"}},
		Conns: []history.Conn{{User: 0, Number: 1, Polling: true, Dialled: second, Up: 3 * second, Down: 5 * second}},
	})
	for _, c := range []struct {
		from, to    history.Time
		may, really bool
	}{
		{0, second / 2, false, false},
		{0, 2 * second, true, false},
		{0, 4 * second, true, true},
		{6 * second, 7 * second, false, false},
	} {
		if may, really := x.mayBeUp(0, c.from, c.to), x.upAt(0, c.from, c.to); may != c.may || really != c.really {
			t.Errorf("from %s to %s: may be up %v, is up %v, want %v and %v", c.from, c.to, may, really, c.may, c.really)
		}
	}
}
