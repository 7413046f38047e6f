package conformance

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// onBoth runs a test on the bare Engine.IO endpoint and on that of Socket.IO: the layer above changes nothing here.
func onBoth(t *testing.T, test func(*testing.T, endpoint)) {
	t.Helper()
	onBothOf(t, protocolSuite, test)
}

func onBothOf(t *testing.T, suite string, test func(*testing.T, endpoint)) {
	t.Helper()
	for _, path := range []string{"/engine.io/", "/socket.io/"} {
		t.Run(strings.Trim(path, "/"), func(t *testing.T) {
			test(t, endpoint{serverFor(t, suite), path})
		})
	}
}

// echo is the endpoint that gives every message back.
func echo(t *testing.T) endpoint {
	t.Helper()
	return endpoint{serverFor(t, protocolSuite), "/engine.io/"}
}

func TestHandshakePolling(t *testing.T) {
	onBothOf(t, impatientSuite, func(t *testing.T, e endpoint) {
		a := get(t, e.polling(""))
		wantAnswer(t, "handshake", a, http.StatusOK, "*")
		if o := wantOpen(t, a.body, "websocket"); o.PingInterval != 300 || o.PingTimeout != 200 || o.MaxPayload != maxPayload {
			t.Errorf("open packet = %+v, want 300, 200 and %d", o, maxPayload)
		}
		if got := a.header.Get("Content-Type"); got != "text/plain; charset=UTF-8" {
			t.Errorf("content-type = %q, want text/plain; charset=UTF-8", got)
		}
		if got := a.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("cache-control = %q, want no-store", got)
		}
	})
}

func TestHandshakeWebSocket(t *testing.T) {
	onBothOf(t, impatientSuite, func(t *testing.T, e endpoint) {
		if o := wantOpen(t, dial(t, e, "").next(t)); o.PingInterval != 300 || o.PingTimeout != 200 || o.MaxPayload != maxPayload {
			t.Errorf("open packet = %+v, want 300, 200 and %d", o, maxPayload)
		}
	})
}

func TestMessagesPolling(t *testing.T) {
	tests := map[string]string{
		"one":    "4hello",
		"three":  "4test1\x1e4test2\x1e4test3",
		"binary": "4hello\x1ebAQIDBA==",
		"empty":  "4",
		"wide":   "4€ 𝄞 てすと",
		"large":  "4" + strings.Repeat("x", 300_000),
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			e := echo(t)
			sid := openPolling(t, e)
			a := post(t, e.polling(sid), body)
			wantAnswer(t, "POST", a, http.StatusOK, "ok")
			if got := a.header.Get("Content-Type"); got != "text/html" {
				t.Errorf("content-type of POST = %q, want text/html", got)
			}
			a = get(t, e.polling(sid))
			wantAnswer(t, "GET", a, http.StatusOK, body)
			if got := a.header.Get("Content-Type"); got != "text/plain; charset=UTF-8" {
				t.Errorf("content-type of GET = %q, want text/plain; charset=UTF-8", got)
			}
		})
	}
}

func TestMessageReleasesPendingGet(t *testing.T) {
	e := echo(t)
	sid := openPolling(t, e)
	pending := begin(t, "GET", e.polling(sid), "")
	time.Sleep(30 * time.Millisecond)
	wantAnswer(t, "POST", post(t, e.polling(sid), "4now"), http.StatusOK, "ok")
	wantAnswer(t, "pending GET", <-pending, http.StatusOK, "4now")
}

func TestMessagesOrderPolling(t *testing.T) {
	e := echo(t)
	sid := openPolling(t, e)
	var sent, got []string
	for i := range 9 {
		p := "4" + strings.Repeat("m", i+1)
		sent = append(sent, p)
		wantAnswer(t, "POST", post(t, e.polling(sid), p), http.StatusOK, "ok")
		if i%4 == 3 {
			got = append(got, packets(get(t, e.polling(sid)).body)...)
		}
	}
	got = append(got, packets(get(t, e.polling(sid)).body)...)
	if strings.Join(got, " ") != strings.Join(sent, " ") {
		t.Errorf("echo of %q = %q, want the same", sent, got)
	}
}

// packets splits a polling body, without heartbeats.
func packets(body string) (list []string) {
	for p := range strings.SplitSeq(body, "\x1e") {
		if p != "2" {
			list = append(list, p)
		}
	}
	return list
}

func TestMalformedPolling(t *testing.T) {
	for name, body := range map[string]string{"type": "abc", "empty": "\x1e", "base64": "b!!", "second": "4a\x1exyz"} {
		t.Run(name, func(t *testing.T) {
			e := echo(t)
			sid := openPolling(t, e)
			// The official server cuts the connection; 400 says the same in a kinder way.
			a, err := request(t.Context(), "POST", e.polling(sid), body, nil)
			if err == nil && a.status != http.StatusBadRequest {
				t.Errorf("POST %q = %d %q, want 400 or a reset", body, a.status, a.body)
			}
			wantAnswer(t, "GET afterwards", get(t, e.polling(sid)), http.StatusBadRequest, "*")
		})
	}
}

func TestOverlappingGets(t *testing.T) {
	onBoth(t, func(t *testing.T, e endpoint) {
		sid := openPolling(t, e)
		one, other := begin(t, "GET", e.polling(sid), ""), begin(t, "GET", e.polling(sid), "")
		first, second := <-one, <-other
		if first.status != http.StatusOK { // they came in the other order
			first, second = second, first
		}
		wantAnswer(t, "first GET", first, http.StatusOK, "1")
		if second.status != http.StatusBadRequest && second.status != http.StatusInternalServerError {
			t.Errorf("second GET = %d %q, want 400 or 500", second.status, second.body)
		}
		wantAnswer(t, "GET afterwards", get(t, e.polling(sid)), http.StatusBadRequest, "*")
	})
}

func TestAbortedGet(t *testing.T) {
	onBoth(t, func(t *testing.T, e endpoint) {
		for wait := 50 * time.Millisecond; ; wait *= 4 {
			sid := openPolling(t, e)
			ctx, abort := context.WithTimeout(t.Context(), wait)
			defer abort()
			if a, err := request(ctx, "GET", e.polling(sid), "", nil); err == nil {
				t.Fatalf("GET = %d %q, want it to be pending", a.status, a.body)
			}
			// The server learns of it by the end of the connection, which may come after the next request.
			a := get(t, e.polling(sid))
			if a.status == http.StatusOK && a.body == "2" && wait < patience {
				continue // the server never saw the first one
			}
			wantAnswer(t, "GET afterwards", a, http.StatusBadRequest, "*")
			return
		}
	})
}

func TestMessagesWebSocket(t *testing.T) {
	s := dial(t, echo(t), "")
	wantOpen(t, s.next(t))
	for _, p := range []string{"4hello", "4", "4€ 𝄞", "4" + strings.Repeat("x", 70_000)} {
		s.send(p)
		if got := s.next(t); got != p {
			t.Errorf("echo of %.20q = %.20q, want the same", p, got)
		}
	}
	s.sendBinary([]byte{1, 2, 3, 4})
	if got := s.next(t); got != "bAQIDBA==" {
		t.Errorf("echo of a binary frame = %q, want the binary frame 01020304", got)
	}
}

func TestMalformedWebSocket(t *testing.T) {
	for _, p := range []string{"abc", "", "7", "b!!", "2", "2probe"} {
		t.Run("packet "+p, func(t *testing.T) {
			s := dial(t, echo(t), "")
			wantOpen(t, s.next(t))
			s.send(p)
			s.waitClosed(t) // not by the heartbeat's timeout, which is later
		})
	}
}

// heartbeats is how many are waited for.
const heartbeats = 3

func TestHeartbeatPolling(t *testing.T) {
	onBothOf(t, heartbeatSuite, func(t *testing.T, e endpoint) {
		sid := openPolling(t, e)
		for range heartbeats {
			wantAnswer(t, "GET", get(t, e.polling(sid)), http.StatusOK, "2")
			wantAnswer(t, "POST of the pong", post(t, e.polling(sid), "3"), http.StatusOK, "ok")
		}
	})
}

func TestPingTimeoutPolling(t *testing.T) {
	onBothOf(t, impatientSuite, func(t *testing.T, e endpoint) {
		t.Parallel()
		sid := openPolling(t, e)
		time.Sleep(pingInterval + pingTimeout)
		wantAnswer(t, "GET without pong", get(t, e.polling(sid)), http.StatusBadRequest, `{"code":1,"message":"Session ID unknown"}`)
	})
}

func TestPingTimeoutEndsPendingGet(t *testing.T) {
	e := endpoint{serverFor(t, impatientSuite), "/engine.io/"}
	var sid string
	for begun := time.Now(); ; { // a slow machine comes for the ping when it is too late
		sid = openPolling(t, e)
		if a := get(t, e.polling(sid)); a.body == "2" {
			break
		} else if time.Since(begun) > patience {
			t.Fatalf("GET = %d %q, want the ping 2", a.status, a.body)
		}
	}
	a := get(t, e.polling(sid))
	if a.status == http.StatusOK && a.body != "1" { // the official server answers 200 1; 400 says the same
		t.Errorf("GET without pong = %d %q, want 400, or 200 1", a.status, a.body)
	}
	wantAnswer(t, "GET afterwards", get(t, e.polling(sid)), http.StatusBadRequest, "*")
}

func TestHeartbeatWebSocket(t *testing.T) {
	onBothOf(t, heartbeatSuite, func(t *testing.T, e endpoint) {
		begun := time.Now()
		s := dial(t, e, "")
		wantOpen(t, s.next(t))
		for range heartbeats {
			if got := s.next(t); got != "2" {
				t.Fatalf("message = %q, want the ping 2", got)
			}
			s.send("3")
		}
		if took := time.Since(begun); took < heartbeats*(pingInterval-60*time.Millisecond)-pingInterval/2 { // the first one may be early
			t.Errorf("%d pings within %v, want one every %v", heartbeats, took, pingInterval)
		}
	})
}

func TestPingTimeoutWebSocket(t *testing.T) {
	onBothOf(t, impatientSuite, func(t *testing.T, e endpoint) {
		begun := time.Now()
		s := dial(t, e, "")
		s.waitClosed(t)
		if took := time.Since(begun); took < pingInterval/2+pingTimeout-50*time.Millisecond { // the first ping may be early
			t.Errorf("socket without pong closed after %v, want %v after a ping, which comes within %v", took, pingTimeout, pingInterval)
		}
	})
}

func TestClosePolling(t *testing.T) {
	onBoth(t, func(t *testing.T, e endpoint) {
		sid := openPolling(t, e)
		pending := begin(t, "GET", e.polling(sid), "")
		time.Sleep(20 * time.Millisecond)
		wantAnswer(t, "POST of the close packet", post(t, e.polling(sid), "1"), http.StatusOK, "ok")
		wantAnswer(t, "pending GET", <-pending, http.StatusOK, "6")
		wantAnswer(t, "GET afterwards", get(t, e.polling(sid)), http.StatusBadRequest, "*")
	})
}

// Requests travel on several connections, so the close packet may overtake the GET that was sent before it.
func TestCloseOvertakesGet(t *testing.T) {
	onBoth(t, func(t *testing.T, e endpoint) {
		sid := openPolling(t, e)
		wantAnswer(t, "POST of the close packet", post(t, e.polling(sid), "1"), http.StatusOK, "ok")
		wantAnswer(t, "late GET", get(t, e.polling(sid)), http.StatusOK, "6")
		wantAnswer(t, "GET afterwards", get(t, e.polling(sid)), http.StatusBadRequest, "*")
	})
}

func TestCloseWebSocket(t *testing.T) {
	onBoth(t, func(t *testing.T, e endpoint) {
		s := dial(t, e, "")
		wantOpen(t, s.next(t))
		s.send("1")
		s.waitClosed(t)
	})
}
