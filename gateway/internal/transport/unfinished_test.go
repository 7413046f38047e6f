package transport

import (
	"bytes"
	"fmt"
	"testing"
)

// TestFirstMessage: who has not shown who it is may send little; what it sends next, in the same read even, may be as long as any.
func TestFirstMessage(t *testing.T) {
	limits := testLimits
	limits.FirstMessage = 100
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		long := wire(fin|opText, bytes.Repeat([]byte("x"), 101))
		k := connect(limits, func(c Conn, data []byte) {
			if string(data) == "token" {
				c.Admitted()
			}
		})
		k.write(t, text("token"), long)
		eventually(t, "the long message", func() bool { return len(k.session.got()) == 2 })

		for name, parts := range map[string][]byte{"whole": long, "its header": long[:6], "fragments": join(
			wire(opText, make([]byte, 60)), wire(opContinuation, make([]byte, 60)))} {
			k = connect(limits, echo)
			k.write(t, parts)
			k.expect(t, "close:1009")
			if got := k.session.reason(t); got != ReasonTooBig {
				t.Errorf("%s: closed as %q, want %q", name, got, ReasonTooBig)
			}
		}
	})
}

// TestBytesOfAllConns: what has begun to arrive has a bound for all conns together. Strangers have half of it, and cannot take the
// other half from those who have shown who they are.
func TestBytesOfAllConns(t *testing.T) {
	limits := testLimits
	limits.Unfinished = NewUnfinished(4000)
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		kept := func(want int64) {
			t.Helper()
			eventually(t, fmt.Sprintf("%d bytes are kept", want), func() bool { return limits.Unfinished.Bytes() == want })
		}
		frame := wire(fin|opBinary, make([]byte, 1500))
		begun := frame[:900]
		strangers := []link{connect(limits, echo), connect(limits, echo)}
		for i, k := range strangers {
			k.write(t, begun)
			kept(int64(i+1) * 900)
		}
		late := connect(limits, echo)
		late.write(t, begun)
		late.expect(t, "close:1013")
		if got := late.session.reason(t); got != ReasonOverload {
			t.Errorf("closed as %q, want %q", got, ReasonOverload)
		}
		known := connect(limits, func(c Conn, _ []byte) { c.Admitted() })
		known.write(t, text("token"))
		eventually(t, "the token", func() bool { return len(known.session.got()) == 1 })
		known.write(t, begun)
		kept(2700)
		for i, k := range strangers { // one goes on, one goes
			if i == 0 {
				k.write(t, frame[900:])
				eventually(t, "the message", func() bool { return len(k.session.got()) == 1 })
			} else {
				_ = k.peer.Close()
				k.session.reason(t)
			}
		}
		kept(900)
		known.write(t, frame[900:])
		kept(0)
	})
	if got := limits.Unfinished.strangers.Load(); got != 0 {
		t.Errorf("%d bytes of strangers in the end, want none", got)
	}
}

// TestShareOfOneWhoIsAdmitted: what it has begun before is a stranger's no more.
func TestShareOfOneWhoIsAdmitted(t *testing.T) {
	u := NewUnfinished(100)
	var s Share
	for i, step := range []struct {
		bytes     int
		stranger  bool
		want      bool
		strangers int64
	}{
		{50, true, true, 50}, {51, true, false, 50}, {90, false, true, 0}, {101, false, false, 0}, {60, false, true, 0}, {0, false, true, 0},
	} {
		if got := s.Set(u, step.bytes, step.stranger); got != step.want || u.strangers.Load() != step.strangers || u.Bytes() != int64(s.bytes) {
			t.Errorf("step %d: Set = %v with %d of strangers and %d of all, want %v, %d and %d", i, got, u.strangers.Load(), u.Bytes(), step.want, step.strangers, s.bytes)
		}
	}
}
