package check

import (
	"testing"
	"time"

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

func TestBusySince(t *testing.T) {
	const ms = time.Millisecond
	send := func(user, conn int, from, to history.Time) history.Send {
		return history.Send{User: user, Conn: conn, Invoke: from, Return: to}
	}
	x := &index{h: &history.History{
		Sends: []history.Send{
			send(1, 2, 100*ms, 200*ms), // and then nothing for a while
			send(1, 2, 300*ms, 700*ms),
			send(1, 2, 702*ms, 900*ms),
			send(1, 1, 150*ms, 800*ms), // another connection
			send(2, 2, 150*ms, 800*ms), // another user
		},
		Acts: []history.Act{{User: 1, Conn: 2, Invoke: 250 * ms, Return: 310 * ms}},
	}}
	for from, want := range map[history.Time]history.Time{800 * ms: 250 * ms, 220 * ms: 220 * ms, 203 * ms: 100 * ms, 904 * ms: 250 * ms} {
		s := send(1, 2, from, 950*ms)
		if got := x.busySince(&s); got != want {
			t.Errorf("busySince of what was sent at %v is %v, want %v", from, got, want)
		}
	}
}
