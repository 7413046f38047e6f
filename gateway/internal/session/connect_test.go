package session_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// TestSecondConnect: what a client says about a namespace whose CONNECT is not answered yet does not end the session.
func TestSecondConnect(t *testing.T) {
	const refusal = `44/later,{"message":"no"}`
	admit := func(a *app, s *session.Session) bool { return a.accept(s, "/later") != nil }
	refuse := func(_ *app, s *session.Session) bool { s.Refuse("/later", "no", nil); return true }
	for name, tc := range map[string]struct {
		say  []string // while the App thinks
		act  []func(*app, *session.Session) bool
		want []bool
		got  []string // by the client; the socket's id is left out
		asks []string // of the App
	}{
		"twice": {
			[]string{"40/later,"},
			[]func(*app, *session.Session) bool{admit, admit},
			[]bool{true, false},
			[]string{"40/later,{"},
			[]string{`connect /later `},
		},
		"three times": {
			[]string{"40/later,", `40/later,{"a":2}`},
			[]func(*app, *session.Session) bool{admit},
			[]bool{true},
			[]string{"40/later,{"},
			[]string{`connect /later `},
		},
		"twice, first refused": {
			[]string{`40/later,{"a":1}`},
			[]func(*app, *session.Session) bool{refuse, admit},
			[]bool{true, true},
			[]string{refusal, "40/later,{"},
			[]string{`connect /later `, `connect /later {"a":1}`},
		},
		"disconnect, connect": {
			[]string{"41/later,", `40/later,{"a":1}`},
			[]func(*app, *session.Session) bool{admit, admit},
			[]bool{false, true},
			[]string{"40/later,{"},
			[]string{`connect /later `, `connect /later {"a":1}`},
		},
		"disconnect, connect, first refused": {
			[]string{"41/later,", `40/later,{"a":1}`},
			[]func(*app, *session.Session) bool{refuse, admit},
			[]bool{true, true},
			[]string{"40/later,{"},
			[]string{`connect /later `, `connect /later {"a":1}`},
		},
		"disconnect": {
			[]string{"41/later,"}, []func(*app, *session.Session) bool{admit, admit}, []bool{false, false}, nil, []string{`connect /later `},
		},
		"second connect taken back": {
			[]string{"40/later,", "41/later,"},
			[]func(*app, *session.Session) bool{admit, admit},
			[]bool{false, false},
			nil,
			[]string{`connect /later `},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp()
			server := sessiontest.Server(t, a, sessiontest.Config(), sessiontest.Stats())
			c, s := sessiontest.Open(server, session.Headers{})
			c.Forget()
			c.SayTogether(append([]string{"40/later,"}, tc.say...)...)
			for i, act := range tc.act {
				if got := act(a, s); got != tc.want[i] {
					t.Errorf("answer %d: %v, want %v", i, got, tc.want[i])
				}
				s.Answered("/later")
			}
			var got []string
			ids := map[string]bool{}
			for _, p := range c.Packets() {
				if strings.HasPrefix(p, "40/later,{") {
					ids[p] = true
					p = p[:len("40/later,{")]
				}
				got = append(got, p)
			}
			if diff := cmp.Diff(tc.got, got); diff != "" || len(ids) > 1 {
				t.Errorf("the client got sockets %v: -want +got\n%s", ids, diff)
			}
			wantCalls(t, a, tc.asks...)
			if code, reason, ended := c.Ended(); ended {
				t.Errorf("closed with %d, %s, want it open", code, reason)
			}
			c.Say("40") // and other namespaces work
			c.WaitFor(t, "40{")
		})
	}
}

// TestSecondConnectAfterTheAnswer: the second CONNECT leaves when the first has left, and may come when that is answered already.
func TestSecondConnectAfterTheAnswer(t *testing.T) {
	heard, c, _ := open(t)
	c.Say("40/custom,")
	c.WaitFor(t, "40/custom,{")
	c.Say("40/custom,", "40", `42/custom,7["echo"]`)
	c.WaitFor(t, "43/custom,7[]")
	c.WaitFor(t, "40{")
	c.Say("40", `427["echo"]`)
	c.WaitFor(t, "437[]")
	wantCalls(t, heard, "connect /custom ", "connect / ", "event /custom echo [] []", "event / echo [] []")
}

// TestSecondConnectOnPolling: the second CONNECT comes in a POST of its own, when the first is answered already.
func TestSecondConnectOnPolling(t *testing.T) {
	a, p := startPolling(t)
	p.post(t, "40/custom,", "200 ok")
	if got := p.do(t.Context(), "GET", ""); !strings.HasPrefix(got, "200 40/custom,{") {
		t.Fatalf("GET = %s, want the CONNECT reply", got)
	}
	p.post(t, "40/custom,", "200 ok")
	p.post(t, `42/custom,1["echo"]`, "200 ok")
	wantLater(t, p.later(t.Context(), "GET", ""), "200 43/custom,1[]")
	wantCalls(t, a, "connect / ", "connect /custom ", "event /custom echo [] []")
}

// TestWithdrawnConnectDoesNotKeepTheSession: when the server disconnects the only socket, a namespace that the client has taken back
// is nobody's.
func TestWithdrawnConnectDoesNotKeepTheSession(t *testing.T) {
	a, c, _ := open(t)
	c.Say("40", "40/later,", "41/later,")
	a.socket("/").Disconnect(transport.ReasonServer)
	if code, reason := c.WaitEnded(t); code != transport.CodeNormal || reason != transport.ReasonServer {
		t.Errorf("closed with %d, %s, want 1000, server", code, reason)
	}
}

// TestFloods: what no other limit counts closes the session when it goes on.
func TestFloods(t *testing.T) {
	const many = 30_000
	for name, tc := range map[string]struct {
		packet string
		fine   int // so many are fine
	}{
		"pongs":                     {"3", 900},
		"acks":                      {"43/custom,1[]", 9000},
		"acks of no socket":         {"43/x,1[]", 9000},
		"disconnects of no socket":  {"41/x,", 900},
		"events of a socket gone":   {`42/gone,["a"]`, 900},
		"connects and disconnects":  {"40/on-and-off,\x1e41/on-and-off,", 4},
		"connects that are refused": {"40/no,", 9},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // where the packets come at once, whatever they take
				a := newApp()
				cfg := sessiontest.Config()
				cfg.ConnectRate, cfg.ConnectBurst = 1, 12
				server := sessiontest.Server(t, a, cfg, sessiontest.Stats())
				c, _ := sessiontest.Open(server, session.Headers{})
				c.Say("40", "40/custom,", "40/gone,")
				a.socket("/gone").Disconnect(transport.ReasonServer)
				for n := range many {
					c.Say(strings.Split(tc.packet, "\x1e")...)
					code, reason, ended := c.Ended()
					switch {
					case ended && (n < tc.fine || code != transport.CodePolicy || reason != transport.ReasonFlood):
						t.Fatalf("closed with %d, %s after %d packets, want 1008, flood, after more than %d", code, reason, n, tc.fine)
					case ended:
						return
					}
				}
				t.Errorf("open after %d packets, want it closed", many)
			})
		})
	}
}

// TestFloodInOneBody: what follows in the body of a POST is not taken in.
func TestFloodInOneBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := startPolling(t)
		p.post(t, strings.Repeat("3\x1e", 20_000)+`42["a"]`, refused400)
		wantCalls(t, a, "connect / ", "disconnected / flood")
	})
}
