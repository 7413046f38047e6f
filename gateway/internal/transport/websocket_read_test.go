package transport

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPauseRead(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, func(c Conn, data []byte) {
			if bytes.HasPrefix(data, []byte("0 ")) {
				c.PauseRead()
			}
		})
		const n = 4000
		var written atomic.Int64
		finished := make(chan error, 1)
		go func() {
			for i := range n {
				frame := text(fmt.Sprintf("%d %s", i, strings.Repeat("x", 1000)))
				if _, err := k.peer.Write(frame); err != nil {
					finished <- err
					return
				}
				written.Add(int64(len(frame)))
			}
			finished <- nil
		}()
		eventually(t, "the first message", func() bool { return len(k.session.got()) == 1 })
		before := int64(-1)
		eventually(t, "the peer is held back", func() bool {
			was := before
			time.Sleep(50 * time.Millisecond)
			before = written.Load()
			return before == was
		})
		if before >= n*1000 {
			t.Errorf("peer wrote all %d bytes to a paused conn, want it held back", before)
		}
		if got := len(k.session.got()); got != 1 {
			t.Errorf("%d messages came while paused, want 1", got)
		}
		k.conn.ResumeRead()
		if err := <-finished; err != nil {
			t.Fatalf("peer cannot write: %v", err)
		}
		eventually(t, "all messages", func() bool { return len(k.session.got()) == n })
		for i, m := range k.session.got() {
			if !strings.HasPrefix(m, fmt.Sprintf("%d ", i)) {
				t.Fatalf("message %d is %.10q, want them in order", i, m)
			}
		}
	})
}

// TestResumedAtOnce: reading goes on before the reader has noticed that it was to stop. What it kept back is received all the same.
func TestResumedAtOnce(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, func(c Conn, data []byte) {
			if string(data) == "1" {
				c.PauseRead()
			}
		})
		k.session.mu.Lock()
		k.session.batchEnd = k.conn.ResumeRead
		k.session.mu.Unlock()
		k.write(t, append(text("1"), text("2")...))
		eventually(t, "both messages", func() bool { return len(k.session.got()) == 2 })
	})
}

// TestPauseAfterEach pauses after every message, with many in one segment.
func TestPauseAfterEach(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, func(c Conn, _ []byte) {
			c.PauseRead()
			time.AfterFunc(time.Millisecond, c.ResumeRead)
		})
		var all []byte
		var want []string
		for i := range 50 {
			all = append(all, text(fmt.Sprint(i))...)
			want = append(want, fmt.Sprint(i))
		}
		k.write(t, all[:len(all)-3])
		time.Sleep(10 * time.Millisecond)
		k.write(t, all[len(all)-3:])
		eventually(t, "all messages", func() bool { return len(k.session.got()) == len(want) })
		if diff := cmp.Diff(want, k.session.got()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

func TestFrameTimeout(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		limits := testLimits
		limits.FrameTimeout = 100 * time.Millisecond
		t.Run("part of a frame", func(t *testing.T) {
			k := connect(limits, nil)
			k.write(t, text("never whole")[:5])
			k.expect(t, "close:1008", "EOF")
			if got := k.session.reason(t); got != ReasonFrameTime {
				t.Errorf("reason = %q, want %q", got, ReasonFrameTime)
			}
		})
		t.Run("byte by byte", func(t *testing.T) { // a byte now and then does not prolong it
			k := connect(limits, nil)
			go func() {
				for _, b := range text(strings.Repeat("slow", 20_000)) { // more than it is given time for
					if _, err := k.peer.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
			k.expect(t, "close:1008", "EOF")
		})
		t.Run("fragments without end", func(t *testing.T) { // nor do fragments and pings
			k := connect(limits, nil)
			k.write(t, wire(opText, []byte("a")))
			go func() {
				for {
					if _, err := k.peer.Write(join(wire(opContinuation, []byte("b")), wire(fin|opPong, nil), wire(fin|opPing, nil)[:3])); err != nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
					if _, err := k.peer.Write(wire(fin|opPing, nil)[3:]); err != nil {
						return
					}
				}
			}()
			for got := k.next(); got != "close:1008"; got = k.next() {
				if got != "10:" {
					t.Fatalf("peer got %q, want pongs and close:1008", got)
				}
			}
		})
	})
}
