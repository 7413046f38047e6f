package check

import (
	"testing"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// TestWasRead: a gateway that drains reads no more of a client that had something in flight for long.
func TestWasRead(t *testing.T) {
	const sent = 20 * second
	for name, c := range map[string]struct {
		conn history.Conn
		want bool
	}{
		"alone":                       {history.Conn{Down: sent + 2*second, Busy: sent}, true},
		"behind something fresh":      {history.Conn{Down: sent + 2*second, Busy: sent - second/2}, true},
		"behind something slow":       {history.Conn{Down: sent + 2*second, Busy: sent - 2*second}, false},
		"just before the end":         {history.Conn{Down: sent + second/2, Busy: sent}, false},
		"given up, and others behind": {history.Conn{Down: sent + 9*second, Busy: sent + 7*second}, false},
		"given up":                    {history.Conn{Down: sent + 9*second}, false},
		"behind a receipt":            {history.Conn{Down: sent + 2*second, Busy: sent, Receipt: sent - second}, false},
		"long behind a receipt":       {history.Conn{Down: sent + 2*second, Busy: sent, Receipt: sent - 9*second}, true},
	} {
		if got := wasRead(&c.conn, &history.Send{Invoke: sent}); got != c.want {
			t.Errorf("%s: was read = %v, want %v", name, got, c.want)
		}
	}
}
