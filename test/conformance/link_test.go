package conformance

import (
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// link is a client of the Socket.IO endpoint over one of the transports; it answers heartbeats.
type link interface {
	// send sends text packets in order; a binary one is written as "b" and base64.
	send(t *testing.T, packets ...string)
	// next gives the next packet that is no heartbeat, binary ones as "b" and base64.
	next(t *testing.T) string
	// waitClosed waits for the end of the session; heartbeats are answered meanwhile.
	waitClosed(t *testing.T)
	// abort drops the link without a word.
	abort()
}

// onLinks runs a test over each transport.
func onLinks(t *testing.T, suite string, test func(*testing.T, func() link)) {
	t.Helper()
	e := endpoint{serverFor(t, suite), "/socket.io/"}
	t.Run("websocket", func(t *testing.T) { test(t, func() link { return openWebSocketLink(t, e) }) })
	t.Run("polling", func(t *testing.T) { test(t, func() link { return openPollingLink(t, e) }) })
	t.Run("upgraded", func(t *testing.T) { test(t, func() link { return openUpgradedLink(t, e) }) })
}

// webSocketLink is a link over WebSocket.
type webSocketLink struct{ *socket }

func openWebSocketLink(t *testing.T, e endpoint) link {
	t.Helper()
	s := dial(t, e, "")
	wantOpen(t, s.next(t))
	return webSocketLink{s}
}

func openUpgradedLink(t *testing.T, e endpoint) link {
	t.Helper()
	s := probe(t, e, openPolling(t, e))
	s.send("5")
	return webSocketLink{s}
}

func (l webSocketLink) send(t *testing.T, packets ...string) {
	t.Helper()
	for _, p := range packets {
		text, binary := strings.CutPrefix(p, "b")
		raw, err := base64.StdEncoding.DecodeString(text)
		if binary && err == nil {
			l.socket.sendBinary(raw)
			continue
		}
		l.socket.send(p)
	}
}

func (l webSocketLink) next(t *testing.T) string {
	t.Helper()
	for {
		if p := l.socket.next(t); p != "2" {
			return p
		}
		l.socket.send("3")
	}
}

func (l webSocketLink) waitClosed(t *testing.T) {
	t.Helper()
	for late := time.After(patience); ; {
		select {
		case p, ok := <-l.packets:
			switch {
			case !ok:
				return
			case p == "2":
				l.socket.send("3")
			}
		case <-late:
			t.Fatalf("socket still open after %v", patience)
		}
	}
}

func (l webSocketLink) abort() { _ = l.conn.Close() }

// pollingLink is a link over polling: one GET at a time is pending.
type pollingLink struct {
	url     string
	packets chan string
	quit    chan struct{}
	once    sync.Once
}

func openPollingLink(t *testing.T, e endpoint) link {
	t.Helper()
	l := &pollingLink{url: e.polling(openPolling(t, e)), packets: make(chan string, 1000), quit: make(chan struct{})}
	var done sync.WaitGroup
	done.Go(func() { l.poll(t) })
	t.Cleanup(func() {
		l.abort()
		done.Wait() // the test's context has ended its GET
	})
	return l
}

func (l *pollingLink) poll(t *testing.T) {
	defer close(l.packets)
	for {
		a, err := request(t.Context(), "GET", l.url, "", nil)
		if err != nil || a.status != http.StatusOK {
			return
		}
		for p := range strings.SplitSeq(a.body, "\x1e") {
			switch p {
			case "2":
				if _, err := request(t.Context(), "POST", l.url, "3", nil); err != nil {
					return
				}
			case "1":
				return
			case "6":
			default:
				l.packets <- p
			}
		}
		select {
		case <-l.quit:
			return
		default:
		}
	}
}

func (l *pollingLink) send(t *testing.T, packets ...string) {
	t.Helper()
	// A refused POST shows in what follows: the session is closed.
	_, _ = request(t.Context(), "POST", l.url, strings.Join(packets, "\x1e"), nil)
}

func (l *pollingLink) next(t *testing.T) string {
	t.Helper()
	select {
	case p, ok := <-l.packets:
		if !ok {
			t.Fatal("session closed, want a packet")
		}
		return p
	case <-time.After(patience):
		t.Fatalf("no packet within %v", patience)
	}
	return ""
}

func (l *pollingLink) waitClosed(t *testing.T) {
	t.Helper()
	for late := time.After(patience); ; {
		select {
		case _, ok := <-l.packets:
			if !ok {
				return
			}
		case <-late:
			t.Fatalf("session still open after %v", patience)
		}
	}
}

func (l *pollingLink) abort() { l.once.Do(func() { close(l.quit) }) }
