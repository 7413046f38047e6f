package transport

import (
	"bytes"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// slowLink gives a conn and its peer's end inside a synctest bubble, where only time that nobody uses passes.
func slowLink(t *testing.T, on func(Conn, []byte)) (*session, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	limits := testLimits
	limits.FrameTimeout = 10 * time.Second
	s := NewServer(limits, slog.New(slog.DiscardHandler))
	end := &session{ended: make(chan struct{}), on: on}
	s.Serve(near, nil, func(c Conn) Receiver { end.conn = c; return end })
	go func() { // the peer reads whatever comes
		buf := make([]byte, 4096)
		for {
			if _, err := far.Read(buf); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = far.Close(); s.Wait() })
	return end, far
}

// trickle writes data so many bytes at a time; it tells how long it took until the end, or until the conn was closed.
func trickle(far net.Conn, data []byte, bytes int, every time.Duration) (took time.Duration, whole bool) {
	start := time.Now()
	for len(data) > 0 {
		n := min(bytes, len(data))
		if _, err := far.Write(data[:n]); err != nil {
			return time.Since(start), false
		}
		if data = data[n:]; len(data) > 0 {
			time.Sleep(every)
		}
	}
	return time.Since(start), true
}

// TestSlowMessage: a message from an honest slow link arrives, however long it takes. Bytes that trickle, and silence, end the conn.
func TestSlowMessage(t *testing.T) {
	long := wire(fin|opText, bytes.Repeat([]byte("x"), 750_000))
	for name, tc := range map[string]struct {
		message []byte
		bytes   int
		every   time.Duration
		whole   bool
		within  time.Duration // until the conn is closed
	}{
		"60 KB in 13 s":        {wire(fin|opText, make([]byte, 60_000)), 4600, time.Second, true, 0},
		"750 KB at 40 KB/s":    {long, 4000, 100 * time.Millisecond, true, 0},
		"in fragments":         {join(wire(opText, make([]byte, 20_000)), wire(opContinuation, make([]byte, 20_000)), wire(fin|opContinuation, nil)), 2000, time.Second, true, 0},
		"a byte each 3 s":      {long, 1, 3 * time.Second, false, 13 * time.Second},
		"silence in the end":   {long, len(long) - 1, time.Hour, false, 2 * time.Hour},
		"empty fragments":      {join(wire(opText, []byte("x")), bytes.Repeat(wire(opContinuation, nil), 50_000)), 6 * 500, time.Second, false, 12 * time.Second},
		"pings, and no ending": {join(wire(opText, []byte("x")), bytes.Repeat(wire(fin|opPing, make([]byte, 125)), 5000)), 131 * 20, time.Second, false, 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end, far := slowLink(t, nil)
				took, whole := trickle(far, tc.message, tc.bytes, tc.every)
				synctest.Wait()
				if whole != tc.whole || whole && len(end.got()) != 1 {
					t.Fatalf("after %v whole = %v and %d messages came, want %v", took, whole, len(end.got()), tc.whole)
				}
				if whole {
					return
				}
				if got := end.reason(t); got != ReasonFrameTime || took > tc.within {
					t.Errorf("closed after %v as %q, want %q within %v", took, got, ReasonFrameTime, tc.within)
				}
			})
		})
	}
}

// TestPauseInsideAMessage: the time for which the gateway itself does not read is not the peer's.
func TestPauseInsideAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, far := slowLink(t, nil)
		message := text("whole in the end")
		synctest.Wait() // it reads
		end.conn.PauseRead()
		if _, err := far.Write(message[:5]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		end.conn.ResumeRead()
		time.Sleep(5 * time.Second)
		if _, err := far.Write(message[5:]); err != nil {
			t.Fatalf("the conn is closed after a pause of its own: %v", err)
		}
		synctest.Wait()
		if got := end.got(); len(got) != 1 {
			t.Errorf("messages = %q, want the one", got)
		}
	})
}

// TestNoTimeOfOthers: a message has its time for itself: not that between messages, nor that of those before it in a stream in which
// every read ends inside a message, nor that of a pause.
func TestNoTimeOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, far := slowLink(t, func(c Conn, data []byte) {
			if string(data) == "pauses" {
				c.PauseRead()
			}
		})
		wants := 0
		write := func(p []byte) {
			t.Helper()
			if _, err := far.Write(p); err != nil {
				t.Fatalf("the conn is closed: %v", err)
			}
		}
		frame := text("steady")
		for range 3 { // idle in between
			write(frame[:3])
			time.Sleep(9 * time.Second)
			write(frame[3:])
			time.Sleep(time.Minute)
			wants++
		}
		write(frame[:5])
		for range 20 { // a stream
			time.Sleep(3 * time.Second)
			write(join(frame[5:], frame[:5]))
			wants++
		}
		write(frame[5:])
		write(join(text("pauses"), frame[:6])) // and a part of the next one
		wants += 2
		time.Sleep(time.Minute)
		end.conn.ResumeRead()
		time.Sleep(9 * time.Second)
		write(frame[6:])
		wants++
		synctest.Wait()
		if got := len(end.got()); got != wants {
			t.Errorf("%d messages came, want %d", got, wants)
		}
	})
}
