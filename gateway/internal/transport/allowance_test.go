package transport

import (
	"bytes"
	"testing"
	"time"
)

func TestAllowance(t *testing.T) {
	var a Allowance
	start := time.Unix(1_800_000_000, 0)
	for i, step := range []struct {
		after time.Duration
		units float64
		want  bool
	}{
		{0, 10, true},
		{0, 1, false},
		{500 * time.Millisecond, 2, false},
		{500 * time.Millisecond, 1, true},
		{time.Hour, 10, true}, // never more than the burst
		{time.Hour, 1, false},
		{time.Hour - time.Second, 1, false}, // the clock went back
		{time.Hour + time.Second, 1, true},
	} {
		if got := a.Take(step.units, 2, 10, start.Add(step.after)); got != step.want {
			t.Errorf("step %d: Take(%v) after %v = %v, want %v", i, step.units, step.after, got, step.want)
		}
	}
}

// TestAllowanceFull: what was taken is forgotten when it has come back, and not before.
func TestAllowanceFull(t *testing.T) {
	var a Allowance
	start := time.Unix(1_800_000_000, 0)
	if !a.Full(2, start) || !a.Full(0, start) {
		t.Error("a new one is not full")
	}
	a.Take(4, 2, 10, start)
	for after, want := range map[time.Duration]bool{-time.Hour: false, 0: false, 1999 * time.Millisecond: false, 2 * time.Second: true, time.Hour: true} {
		if got := a.Full(2, start.Add(after)); got != want {
			t.Errorf("4 units taken at 2 a second: Full after %v = %v, want %v", after, got, want)
		}
	}
}

// TestControlFloods: frames that no message comes of close the conn when they go on, and do not before.
func TestControlFloods(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		for name, tc := range map[string]struct {
			first, frame []byte
			fine         int
		}{
			"pings":           {nil, wire(fin|opPing, nil), 900},
			"pongs":           {nil, wire(fin|opPong, []byte("p")), 900},
			"empty fragments": {wire(opText, nil), wire(opContinuation, nil), 9000},
		} {
			k := connect(testLimits, echo)
			k.write(t, tc.first, bytes.Repeat(tc.frame, tc.fine))
			if tc.first != nil {
				k.write(t, wire(fin|opContinuation, []byte("m")))
			} else {
				k.write(t, text("m"))
			}
			eventually(t, name+" that are fine", func() bool { return len(k.session.got()) == 1 })
			_, _ = k.peer.Write(join(tc.first, bytes.Repeat(tc.frame, 30_000))) // breaks when the conn is closed
			if got := k.session.reason(t); got != ReasonFlood {
				t.Errorf("%s: closed as %q, want %q", name, got, ReasonFlood)
			}
		}
	})
}
