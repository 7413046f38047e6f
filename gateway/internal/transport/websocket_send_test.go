package transport

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSlowConsumer(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, nil)
		message := TextMessage(strings.Repeat("x", 1000))
		volatile := TextMessage(strings.Repeat("v", 1000))
		volatile.volatile = true
		big := TextMessage(strings.Repeat("v", testLimits.SendQueue-2000))
		big.volatile = true
		// The kernel's buffers fill first, and what is left to a goroutine may still go out for a while, however long it has stood.
		eventually(t, "volatile messages are dropped with more than half a queue, or over the bound", func() bool {
			for k.conn.QueuedBytes() <= testLimits.SendQueue/2 {
				if !k.conn.Queue(message) {
					t.Fatal("Queue = false below the bound, want true")
				}
				k.conn.Flush()
			}
			return !k.conn.Queue(volatile) && !k.conn.Queue(big)
		})
		if !k.conn.Queue(message) {
			t.Error("Queue = false below the bound after a volatile one was dropped, want true")
		}
		eventually(t, "a message does not fit any more", func() bool {
			fits := k.conn.Queue(message)
			k.conn.Flush()
			return !fits
		})
		if got := k.session.reason(t); got != ReasonSlow {
			t.Errorf("reason = %q, want %q", got, ReasonSlow)
		}
		if got := k.server.QueuedBytes(); got != 0 {
			t.Errorf("QueuedBytes() = %d after a slow consumer is closed, want 0", got)
		}
	})
}

// TestBigVolatileDoesNotCloseTheConn: a volatile message that does not fit is dropped, however little is queued.
func TestBigVolatileDoesNotCloseTheConn(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, nil)
		k.conn.Queue(TextMessage("a"))
		big := TextMessage(strings.Repeat("v", 2*testLimits.SendQueue))
		big.volatile = true
		k.conn.Queue(big)
		if !k.conn.Queue(TextMessage("b")) {
			t.Fatal("Queue after a big volatile message = false, want true")
		}
		k.conn.Flush()
		k.expect(t, "1:a")
		if got := k.next(); got != "1:b" && !strings.HasPrefix(got, "1:vvv") {
			t.Errorf("peer got %.20q, want b, or the volatile message before it", got)
		}
	})
}

// TestBurstToAPeerThatReads: a burst between two flushes that is larger than the queue is no sign of a slow peer.
func TestBurstToAPeerThatReads(t *testing.T) {
	for _, by := range []mode{onLoop, onDescriptor} {
		k := connect(t, testLimits, by, nil)
		const n, burst = 400, 100 // a burst is more than the queue holds
		bursts := make(chan int)
		go func() {
			defer close(bursts)
			for i := range n {
				if got := k.next(); !strings.HasPrefix(got, fmt.Sprintf("1:%d ", i)) {
					return
				}
				if (i+1)%burst == 0 {
					bursts <- i + 1
				}
			}
		}()
		for i := range n {
			if !k.conn.Queue(TextMessage(fmt.Sprintf("%d ", i) + strings.Repeat("x", 1000))) {
				t.Fatalf("Queue(%d) = false, want true", i)
			}
			if (i+1)%burst == 0 {
				k.conn.Flush()
				if got := <-bursts; got != i+1 { // what the kernel holds of it is gone then
					t.Fatalf("peer got %d messages in order, want %d", got, i+1)
				}
			}
		}
	}
}

// TestLongHistory: one message may be larger than the queue, and what follows it while it goes out is queued behind it.
func TestLongHistory(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, nil)
		history := strings.Repeat("h", 8*testLimits.SendQueue)
		for _, m := range []string{"before", history, "ack", "live"} {
			if !k.conn.Queue(TextMessage(m)) {
				t.Fatalf("Queue(%.8s) = false, want true", m)
			}
		}
		k.conn.Flush()
		if !k.conn.Queue(TextMessage("live too")) {
			t.Fatal("Queue behind a long history = false, want true")
		}
		k.conn.Flush()
		k.expect(t, "1:before", "1:"+history, "1:ack", "1:live", "1:live too")

		if !k.conn.Queue(TextMessage(history)) { // and a peer that does not read is still slow
			t.Fatal("Queue(history) = false, want true")
		}
		k.conn.Flush()
		for range 2 * testLimits.SendQueue / 1000 {
			k.conn.Queue(TextMessage(strings.Repeat("x", 1000)))
		}
		k.conn.Flush()
		if got := k.session.reason(t); got != ReasonSlow {
			t.Errorf("reason = %q, want %q", got, ReasonSlow)
		}
	})
}

// TestDrainInOrder has the kernel's buffer fill, so that the drain goroutine and Queue work side by side.
func TestDrainInOrder(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		limits := testLimits
		limits.SendQueue, limits.CloseTimeout = 8<<20, patience
		k := connect(limits, nil)
		const n = 2000
		go func() {
			for i := range n {
				k.conn.Queue(TextMessage(fmt.Sprintf("%d:%s", i, strings.Repeat("x", i%1500))))
				if i%7 == 0 {
					k.conn.Flush()
				}
				if i%100 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			k.conn.Close(CodeRestart, ReasonDrain)
		}()
		time.Sleep(50 * time.Millisecond)
		for i := range n {
			k.expect(t, fmt.Sprintf("1:%d:%s", i, strings.Repeat("x", i%1500)))
		}
		k.expect(t, "close:1012", "EOF")
	})
}

// TestPongBetweenFrames: the answer to a ping that comes while a long frame of another gateway's session is on its way follows that frame.
func TestPongBetweenFrames(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, nil)
		frame := TextMessage(strings.Repeat("x", 1000)).Frames()
		k.conn.Queue(CarriedMessage(frame[:300], true))
		k.conn.Flush()
		k.write(t, wire(fin|opPing, []byte("old")), wire(fin|opPing, []byte("ping")), wire(fin|opText, []byte("said")))
		eventually(t, "the message behind the pings is received", func() bool { return len(k.session.got()) == 1 })
		k.conn.Queue(CarriedMessage(frame[300:600], true))
		k.conn.Flush()
		k.conn.Queue(CarriedMessage(frame[600:], false))
		k.conn.Queue(TextMessage("next"))
		k.conn.Flush()
		k.expect(t, "1:"+strings.Repeat("x", 1000), "10:ping", "1:next")
	})
}
