package sioclient

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// script is a Link that gives packets and keeps what is written.
type script struct {
	in  []string
	out []string
}

var errScriptEnds = errors.New("the script ends")

func (s *script) Read(time.Time) ([]byte, error) {
	if len(s.in) == 0 {
		return nil, errScriptEnds
	}
	next := s.in[0]
	s.in = s.in[1:]
	return []byte(next), nil
}

func (s *script) Write(b []byte) error { s.out = append(s.out, string(b)); return nil }
func (*script) Reset()                 {}
func (*script) Close()                 {}

// diary is a Handler that writes down what it is told.
type diary struct{ lines []string }

func (d *diary) add(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) Connected(w Welcome, early []Message) error {
	d.add("connected %s %s", w.SID, w.PID)
	for _, m := range early {
		d.add("early %s %s", m.Name, m.Offset)
	}
	return nil
}
func (d *diary) Refused(r Refusal)               { d.add("refused %s", r.Data.Code) }
func (d *diary) Event(m Message) error           { d.add("event %s", m.Name); return nil }
func (d *diary) Ack(id int64, body []byte) error { d.add("ack %d %s", id, body); return nil }

const openPacket = `0{"sid":"e","pingInterval":25000,"pingTimeout":20000}`

func TestConn(t *testing.T) {
	for name, c := range map[string]struct {
		in   []string
		told []string
		out  []string
		err  string
		left int
	}{
		"events before the reply come after it": {
			in:   []string{`2`, `42["a","1"]`, `40{"sid":"s","pid":"p"}`, `6`, `42["b",1]`, `433[true]`},
			told: []string{"connected s p", "early a 1", "event b", "ack 3 [true]"},
			out:  []string{`40{"token":"t"}`, `3`}, err: "the script ends",
		},
		"events without a reply":    {in: []string{`42["a","1"]`}, err: "the script ends", left: 1},
		"refusal":                   {in: []string{`44{"message":"no","data":{"code":"unavailable"}}`}, told: []string{"refused unavailable"}, err: "refused:"},
		"disconnect":                {in: []string{`41`}, err: "disconnected by the server"},
		"another namespace":         {in: []string{`40/chat,{"sid":"s"}`}, err: "another namespace"},
		"attachments":               {in: []string{`451-["a"]`}, err: "attachments"},
		"second reply":              {in: []string{`40{"sid":"s"}`, `40{"sid":"s"}`}, told: []string{"connected s "}, err: "second reply"},
		"close over WebSocket":      {in: []string{`1`}, err: "the script ends"},
		"event that is no array":    {in: []string{`42{}`}, err: "event"},
		"reply that cannot be read": {in: []string{`40[`}, err: "reply to CONNECT"},
	} {
		t.Run(name, func(t *testing.T) {
			link, told := &script{in: append([]string{openPacket}, c.in...)}, &diary{}
			conn, err := NewConn(link, told)
			if err != nil {
				t.Fatal(err)
			}
			err = conn.Connect(Auth{Token: "t"})
			for err == nil {
				err = conn.Step()
			}
			if !strings.Contains(err.Error(), c.err) || !slices.Equal(told.lines, c.told) || conn.Early() != c.left {
				t.Errorf("told %q, left %d, error %q, want %q, %d and %q", told.lines, conn.Early(), err, c.told, c.left, c.err)
			}
			if c.out != nil && !slices.Equal(link.out, c.out) {
				t.Errorf("wrote %q, want %q", link.out, c.out)
			}
		})
	}
	if _, err := NewConn(&script{in: []string{`40{}`}}, &diary{}); err == nil {
		t.Error("NewConn without an open packet = nil, want an error")
	}
}

func TestRecovery(t *testing.T) {
	var r Recovery
	r.Received(Message{Offset: "1"})
	if got := r.Auth("t"); got != (Auth{Token: "t"}) {
		t.Errorf("Auth before a session = %+v, want the token alone", got)
	}
	if r.Connected(Welcome{SID: "a", PID: "p"}) {
		t.Error("Connected with the first session = recovered, want a fresh one")
	}
	r.Received(Message{Offset: "2"})
	r.Received(Message{})
	if got := r.Auth("t"); got != (Auth{Token: "t", PID: "p", Offset: "2"}) {
		t.Errorf("Auth = %+v, want pid p and offset 2", got)
	}
	if !r.Connected(Welcome{SID: "b", PID: "p"}) || r.Connected(Welcome{SID: "c", PID: "q"}) || r.Connected(Welcome{SID: "d"}) {
		t.Error("Connected = recovered for another pid than the last, or not for the same")
	}
}

func TestAcks(t *testing.T) {
	var a Acks[string]
	first, second := a.Next(), a.Next()
	a.Await(first, "first")
	a.Await(second, "second")
	if got, ok := a.Remove(first); got != "first" || !ok {
		t.Errorf("Remove(%d) = %q, %v", first, got, ok)
	}
	if got, ok := a.Remove(first); ok {
		t.Errorf("Remove(%d) again = %q, want nothing", first, got)
	}
	if got := a.Clear(); len(got) != 1 || got[0] != "second" || len(a.Clear()) != 0 {
		t.Errorf("Clear = %q, want the second once", got)
	}
	if next := a.Next(); next != 2 {
		t.Errorf("Next after Clear = %d, want 2", next)
	}
}

// TestLinks has both transports carry the same packets to a server and back.
func TestLinks(t *testing.T) {
	got := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case q.Get("transport") == "websocket":
			conn, _, _, err := ws.UpgradeHTTP(r, w)
			if err != nil {
				return
			}
			defer conn.Close() //nolint:errcheck // a test
			_ = wsutil.WriteServerText(conn, []byte(openPacket))
			text, _ := wsutil.ReadClientText(conn)
			got <- string(text)
			_ = wsutil.WriteServerText(conn, []byte(`2`))
			_ = ws.WriteFrame(conn, ws.NewCloseFrame(ws.NewCloseFrameBody(4001, "enough")))
		case r.Method == http.MethodPost:
			body, _ := io.ReadAll(r.Body)
			got <- string(body)
		case q.Get("sid") == "":
			_, _ = fmt.Fprint(w, openPacket)
		default:
			_, _ = fmt.Fprint(w, "2\x1e1")
		}
	}))
	defer server.Close()
	address := server.Listener.Addr().String()
	for name, dial := range map[string]func() (Link, error){
		"websocket": func() (Link, error) { return DialWebSocket(t.Context(), address, 4<<10) },
		"polling":   func() (Link, error) { return DialPolling(t.Context(), address, func() string { return address }) },
	} {
		link, err := dial()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		deadline := time.Now().Add(30 * time.Second)
		if b, err := link.Read(deadline); err != nil || string(b) != openPacket {
			t.Errorf("%s: first packet = %q, %v, want the open packet", name, b, err)
		}
		if err := link.Write([]byte(`40{}`)); err != nil {
			t.Errorf("%s: Write = %v", name, err)
		}
		if text := <-got; text != `40{}` {
			t.Errorf("%s: the server got %q, want 40{}", name, text)
		}
		if b, err := link.Read(deadline); err != nil || string(b) != `2` {
			t.Errorf("%s: second packet = %q, %v, want a ping", name, b, err)
		}
		if b, err := link.Read(deadline); err == nil || !strings.Contains(err.Error(), "closed by the server") {
			t.Errorf("%s: after the end = %q, %v, want the server's close", name, b, err)
		}
		link.Reset()
	}
}
