package transport

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestCloseReachesThePeer has unread bytes lie in the socket: closing then resets the connection, unless they are read.
func TestCloseReachesThePeer(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		for name, tc := range map[string]struct {
			paused bool
			frames []byte
			end    func(k link)
			want   []string
			reason Reason
		}{
			"idle":           {false, nil, func(k link) { k.conn.Close(CodeRestart, ReasonDrain) }, []string{"close:1012"}, ReasonDrain},
			"first one wins": {false, nil, func(k link) { k.conn.Close(CodePolicy, ReasonRefused); k.conn.Close(CodeRestart, ReasonDrain) }, []string{"close:1008"}, ReasonRefused},
			"something queued": {false, nil, func(k link) {
				k.conn.Queue(TextMessage("last words"))
				k.conn.Close(CodePolicy, ReasonExpired)
			}, []string{"1:last words", "close:1008"}, ReasonExpired},
			"unread bytes": {true, bytes.Repeat(text("unread"), 300), func(k link) {
				time.Sleep(20 * time.Millisecond)
				k.conn.Close(CodeTryAgainLater, ReasonOverload)
			}, []string{"close:1013"}, ReasonOverload},
			"protocol":  {false, join(text("ok"), []byte{fin | opText, 3, 1, 2, 3}, bytes.Repeat(text("more"), 1000)), nil, []string{"close:1002"}, ReasonProtocol},
			"not UTF-8": {false, text("\xff"), nil, []string{"close:1007"}, ReasonProtocol},
			"too big":   {false, join(wire(fin|opText, make([]byte, testLimits.MaxMessage+1))[:14], make([]byte, 100_000)), nil, []string{"close:1009"}, ReasonTooBig},
		} {
			t.Run(name, func(t *testing.T) {
				k := connect(testLimits, nil)
				if tc.paused {
					k.conn.PauseRead()
				}
				k.write(t, tc.frames)
				if tc.end != nil {
					tc.end(k)
				}
				time.Sleep(10 * time.Millisecond) // a reset, if any, has arrived
				k.expect(t, tc.want...)
				k.expect(t, "EOF")
				if got := k.session.reason(t); got != tc.reason {
					t.Errorf("reason = %q, want %q", got, tc.reason)
				}
			})
		}
	})
}

// TestNothingIsReceivedAfterClose: what stands behind the packet that ended the session is not acted on.
func TestNothingIsReceivedAfterClose(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, func(c Conn, data []byte) {
			if string(data) == "bad" {
				c.Close(CodeProtocol, ReasonProtocol)
			}
		})
		k.write(t, text("good"), text("bad"), text("behind"), text("it"))
		k.expect(t, "close:1002", "EOF")
		k.session.reason(t)
		if diff := cmp.Diff([]string{"good", "bad"}, k.session.got()); diff != "" {
			t.Errorf("received: -want +got\n%s", diff)
		}
	})
}

func TestCloseWhilePausedDeliversNothingMore(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		k := connect(testLimits, func(c Conn, _ []byte) { c.PauseRead() })
		k.write(t, text("first"), text("held"), text("back"))
		eventually(t, "the first", func() bool { return len(k.session.got()) == 1 })
		k.conn.Close(CodePolicy, ReasonExpired)
		k.expect(t, "close:1008", "EOF")
		k.session.reason(t)
		if diff := cmp.Diff([]string{"first"}, k.session.got()); diff != "" {
			t.Errorf("received: -want +got\n%s", diff)
		}
	})
}

func TestPeerThatGoesAway(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		t.Run("half close", func(t *testing.T) { // what came before the FIN is delivered
			k := connect(testLimits, nil)
			k.write(t, text("a"), text("b"))
			if err := k.peer.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got := k.session.reason(t); got != ReasonLost {
				t.Errorf("reason = %q, want %q", got, ReasonLost)
			}
			if diff := cmp.Diff([]string{"a", "b"}, k.session.got()); diff != "" {
				t.Errorf("received: -want +got\n%s", diff)
			}
		})
		t.Run("reset", func(t *testing.T) {
			k := connect(testLimits, nil)
			_ = k.peer.SetLinger(0)
			_ = k.peer.Close()
			if got := k.session.reason(t); got != ReasonLost {
				t.Errorf("reason = %q, want %q", got, ReasonLost)
			}
		})
		t.Run("in the middle of a frame", func(t *testing.T) {
			k := connect(testLimits, nil)
			k.write(t, text("cut")[:5])
			_ = k.peer.Close()
			if got := k.session.reason(t); got != ReasonLost || len(k.session.got()) != 0 {
				t.Errorf("reason = %q, received %q, want %q and nothing", got, k.session.got(), ReasonLost)
			}
		})
	})
}

// TestCloseOfADeafPeer: the link of a peer that neither reads nor closes ends after CloseTimeout.
func TestCloseOfADeafPeer(t *testing.T) {
	modes(t, func(t *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		limits := testLimits
		limits.SendQueue, limits.CloseTimeout = 8<<20, 100*time.Millisecond
		k := connect(limits, nil)
		k.conn.Queue(TextMessage(strings.Repeat("x", 6<<20)))
		k.conn.Close(CodeRestart, ReasonDrain)
		start := time.Now()
		k.server.Wait()
		if took := time.Since(start); took > patience {
			t.Errorf("the link ended after %v, want about %v", took, limits.CloseTimeout)
		}
		if got := k.session.reason(t); got != ReasonDrain {
			t.Errorf("reason = %q, want %q", got, ReasonDrain)
		}
	})
}

// TestBothClose: whoever closes at the moment at which the peer does is not left with a connection that waits for an end that has been read.
func TestBothClose(t *testing.T) {
	modes(t, func(_ *testing.T, connect func(Limits, func(Conn, []byte)) link) {
		limits := testLimits
		limits.CloseTimeout = time.Hour
		for range 200 {
			k := connect(limits, nil)
			var both sync.WaitGroup
			both.Go(func() { _ = k.peer.Close() })
			both.Go(func() { k.conn.Close(CodeNormal, ReasonServer) })
			both.Wait()
			k.server.Wait()
		}
	})
}
