package conformance

import (
	"net/http"
	"testing"
	"time"
)

// probe opens a WebSocket for a polling session and has it probed.
func probe(t *testing.T, e endpoint, sid string) *socket {
	t.Helper()
	s := dial(t, e, sid)
	s.send("2probe")
	if got := s.next(t); got != "3probe" {
		t.Fatalf("answer to the probe = %q, want 3probe", got)
	}
	return s
}

func TestUpgrade(t *testing.T) {
	e := echo(t)
	sid := openPolling(t, e)
	s := probe(t, e, sid)
	wantAnswer(t, "GET after the probe", get(t, e.polling(sid)), http.StatusOK, "6")
	s.send("5", "4hello")
	if got := s.next(t); got != "4hello" {
		t.Errorf("message = %q, want 4hello", got)
	}
}

func TestUpgradeReleasesPendingGet(t *testing.T) {
	onBoth(t, func(t *testing.T, e endpoint) {
		sid := openPolling(t, e)
		pending := begin(t, "GET", e.polling(sid), "")
		time.Sleep(20 * time.Millisecond)
		s := dial(t, e, sid)
		s.send("2probe")
		wantAnswer(t, "pending GET", <-pending, http.StatusOK, "6") // before the heartbeat would have released it
		if got := s.next(t); got != "3probe" {
			t.Errorf("answer to the probe = %q, want 3probe", got)
		}
		s.send("5")
	})
}

// A client keeps polling until its "5" is on its way; every such GET must be answered, none at a run.
func TestUpgradeAnswersEveryGet(t *testing.T) {
	e := echo(t)
	sid := openPolling(t, e)
	s := probe(t, e, sid)
	begun, n := time.Now(), 0
	for ; time.Since(begun) < 250*time.Millisecond; n++ {
		if a := get(t, e.polling(sid)); a.status != http.StatusOK || a.body != "6" && a.body != "2" {
			t.Errorf("GET while upgrading = %d %q, want 200 6, or a heartbeat", a.status, a.body)
		}
	}
	if n > 10 {
		t.Errorf("%d GETs while upgrading in 250 ms, want each held for up to 100 ms", n)
	}
	s.send("5", "4still here")
	got := s.next(t)
	if got == "2" { // a heartbeat that waited
		got = s.next(t)
	}
	if got != "4still here" {
		t.Errorf("message = %q, want 4still here", got)
	}
}

func TestUpgradeMeetsPendingGet(t *testing.T) {
	e := echo(t)
	sid := openPolling(t, e)
	s := probe(t, e, sid)
	pending := begin(t, "GET", e.polling(sid), "")
	time.Sleep(5 * time.Millisecond)
	s.send("5")
	if a := <-pending; !(a.status == http.StatusBadRequest || a.status == http.StatusOK && a.body == "6") {
		t.Errorf("GET that the upgrade met = %d %q, want 400, or 200 6", a.status, a.body)
	}
	s.send("4hello")
	if got := s.next(t); got != "4hello" {
		t.Errorf("message = %q, want 4hello", got)
	}
}

func TestPollingAfterUpgrade(t *testing.T) {
	onBoth(t, func(t *testing.T, e endpoint) {
		sid := openPolling(t, e)
		s := dial(t, e, sid)
		s.send("2probe", "5")
		if got := s.next(t); got != "3probe" {
			t.Errorf("answer to the probe = %q, want 3probe", got)
		}
		a := get(t, e.polling(sid))
		for begun := time.Now(); a.body == "6" && time.Since(begun) < patience; { // the 5 is still on its way
			a = get(t, e.polling(sid))
		}
		wantAnswer(t, "GET after the upgrade", a, http.StatusBadRequest, "*")
		if e.path == "/engine.io/" {
			s.send("4hello")
			if got := s.next(t); got != "4hello" {
				t.Errorf("message = %q, want 4hello", got)
			}
		}
	})
}

func TestSecondWebSocketAfterUpgrade(t *testing.T) {
	e := echo(t)
	sid := openPolling(t, e)
	s := probe(t, e, sid)
	s.send("5")
	host, target := e.webSocket(sid)
	time.Sleep(20 * time.Millisecond)
	if second, _ := upgrade(t, host, target); second != nil { // refused or closed: both are the end for a client
		second.waitClosed(t)
	}
	s.send("4hello")
	if got := s.next(t); got != "4hello" {
		t.Errorf("message = %q, want 4hello", got)
	}
}

func TestWebSocketWithUnknownSession(t *testing.T) {
	onBoth(t, func(t *testing.T, e endpoint) {
		host, target := e.webSocket("abc")
		if s, a := upgrade(t, host, target); s != nil || a.status != http.StatusBadRequest {
			t.Errorf("upgrade with an unknown sid = %d, want 400", a.status)
		}
	})
}

// What is sent while the client upgrades comes once, on either transport.
func TestMessagesWhileUpgrading(t *testing.T) {
	e := echo(t)
	sid := openPolling(t, e)
	wantAnswer(t, "POST", post(t, e.polling(sid), "4before"), http.StatusOK, "ok")
	s := probe(t, e, sid)
	wantAnswer(t, "POST", post(t, e.polling(sid), "4during"), http.StatusOK, "ok")
	s.send("5", "4after")
	var got []string
	for len(got) < 3 {
		p := s.next(t)
		if p == "6" {
			t.Error("noop over the WebSocket, want it on polling only")
			continue
		}
		if p != "2" {
			got = append(got, p)
		}
	}
	for i, want := range []string{"4before", "4during", "4after"} {
		if got[i] != want {
			t.Errorf("messages = %q, want 4before 4during 4after", got)
			break
		}
	}
}

// A probe that leads nowhere leaves the session on polling.
func TestAbandonedProbe(t *testing.T) {
	e := echo(t)
	sid := openPolling(t, e)
	s := probe(t, e, sid)
	_ = s.conn.Close()
	time.Sleep(50 * time.Millisecond)
	wantAnswer(t, "POST", post(t, e.polling(sid), "4hello"), http.StatusOK, "ok")
	for late := time.Now().Add(patience); ; {
		if got := packets(get(t, e.polling(sid)).body); len(got) == 1 && got[0] == "4hello" {
			break
		} else if time.Now().After(late) || len(got) > 0 && got[0] != "6" {
			t.Fatalf("GET = %q, want 4hello", got)
		}
	}
}

// Some proxies let a WebSocket through and then nothing more. Polling goes on until the client gives up.
func TestHangingProbe(t *testing.T) {
	for _, what := range []string{"", "2probe"} {
		t.Run("sent "+what, func(t *testing.T) {
			e := echo(t)
			sid := openPolling(t, e)
			s := dial(t, e, sid)
			if what != "" {
				s.send(what)
				s.next(t)
			}
			wantAnswer(t, "POST", post(t, e.polling(sid), "4hello"), http.StatusOK, "ok")
			for begun := time.Now(); ; {
				body := get(t, e.polling(sid)).body
				if body == "4hello" {
					break
				}
				if body != "6" || time.Since(begun) > patience {
					t.Fatalf("GET = %q, want 4hello after noops at most", body)
				}
			}
		})
	}
}

func TestHeartbeatAfterUpgrade(t *testing.T) {
	e := endpoint{serverFor(t, heartbeatSuite), "/engine.io/"}
	sid := openPolling(t, e)
	s := probe(t, e, sid)
	s.send("5")
	for range heartbeats {
		if got := s.next(t); got != "2" {
			t.Fatalf("message = %q, want the ping 2", got)
		}
		s.send("3")
	}
}
