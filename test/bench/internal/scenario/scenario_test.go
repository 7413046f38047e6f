//go:build linux

package scenario

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/golang-jwt/jwt/v5"

	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/bench/internal/system"
)

const testSecret = "a secret of the tests, long enough for HS256"

// tiny is a Socket.IO server with just what the scenarios use.
type tiny struct {
	mu    sync.Mutex
	rooms map[string]*tinyRoom
	// repeat makes the server deliver every tenth message twice.
	repeat bool
}

type tinyRoom struct {
	seq     int
	members []net.Conn
}

func (s *tiny) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // a test
	defer s.leave(conn)
	say(conn, `0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)
	say(conn, `2`)
	in := struct {
		io.Reader
		io.Writer
	}{bufio.NewReader(conn), conn}
	for {
		text, err := wsutil.ReadClientText(in)
		if err != nil {
			return
		}
		if err := s.packet(conn, string(text)); err != nil {
			say(conn, `44{"message":"`+err.Error()+`"}`)
			return
		}
	}
}

func say(conn net.Conn, text string) { _ = wsutil.WriteServerText(conn, []byte(text)) }

func (s *tiny) packet(conn net.Conn, text string) error {
	if text == "3" {
		return nil
	}
	if auth, ok := strings.CutPrefix(text, "40"); ok {
		var a struct{ Token string }
		if err := json.Unmarshal([]byte(auth), &a); err != nil {
			return err
		}
		_, err := jwt.Parse(a.Token, func(*jwt.Token) (any, error) { return []byte(testSecret), nil },
			jwt.WithValidMethods([]string{"HS256"}))
		if err != nil {
			return err
		}
		say(conn, `40{"sid":"y"}`)
		return nil
	}
	id, array, _ := strings.Cut(strings.TrimPrefix(text, "42"), "[")
	var args []json.RawMessage
	if err := json.Unmarshal([]byte("["+array), &args); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch string(args[0]) {
	case `"room:join"`:
		room := s.room(strings.Trim(string(args[1]), `"`))
		room.seq++
		say(conn, `42["room:history",[]]`)
		say(conn, fmt.Sprintf(`43%s[{"ok":true,"seq":%d}]`, id, room.seq))
		room.say(fmt.Sprintf(`42["room:user-joined",{"seq":%d}]`, room.seq))
		room.members = append(room.members, conn)
	case `"message:send"`, `"room:message"`:
		var m struct{ RoomID, Content, Text string }
		if err := json.Unmarshal(args[1], &m); err != nil {
			return err
		}
		room := s.room(m.RoomID)
		if id != "" {
			say(conn, `43`+id+`[{"ok":true}]`)
		}
		if string(args[0]) == `"room:message"` {
			room.say(fmt.Sprintf(`42["room:message",{"text":%q,"content":%q}]`, m.Text, m.Content))
			return nil
		}
		room.seq++
		event := fmt.Sprintf(`42["message:new",{"seq":%d,"content":%q},"offset"]`, room.seq, m.Content)
		room.say(event)
		if s.repeat && room.seq%10 == 0 {
			room.say(event)
		}
	}
	return nil
}

func (s *tiny) room(name string) *tinyRoom {
	if s.rooms == nil {
		s.rooms = make(map[string]*tinyRoom)
	}
	if s.rooms[name] == nil {
		s.rooms[name] = &tinyRoom{}
	}
	return s.rooms[name]
}

func (r *tinyRoom) say(text string) {
	for _, m := range r.members {
		say(m, text)
	}
}

func (s *tiny) leave(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rooms {
		r.members = slices.DeleteFunc(r.members, func(m net.Conn) bool { return m == conn })
	}
}

func newBench(t *testing.T, handler http.Handler) *Bench {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	return &Bench{
		Options: Options{
			Conns: 12, Rooms: 4, Window: 3, IdleConns: 40, Rate: 500, Pace: 600, Warmup: 20 * time.Millisecond,
			Duration: time.Second, Loops: 2, Pending: 16,
		},
		System: system.External("tiny", []netip.AddrPort{address}, testSecret, 0, ""),
		Run:    "test",
		Say:    t.Logf,
	}
}

func figures(r *report.Result) map[string]float64 {
	m := make(map[string]float64)
	for _, f := range r.Figures {
		m[f.Name] = f.Value
	}
	return m
}

func TestScenarios(t *testing.T) {
	for _, c := range []struct {
		scenario string
		positive []string
	}{
		{"send", []string{"acked", "deliveries", "ack p50", "ack p99"}},
		{"hot", []string{"acked", "deliveries"}},
		{"idle", []string{"connects", "handshake p99"}},
		{"pace", []string{"send: ack p99", "hot: ack p99", "hot: deliveries"}},
		{"latency", []string{"message:send: receipt p50", "room:message: receipt p99", "room:message: ack p50"}},
	} {
		t.Run(c.scenario, func(t *testing.T) {
			t.Parallel()
			r, err := newBench(t, &tiny{}).Do(t.Context(), c.scenario)
			if err != nil || len(r.Problems) > 0 {
				t.Fatalf("Do(%q) = problems %q, error %v, want none", c.scenario, r.Problems, err)
			}
			got := figures(r)
			for _, name := range c.positive {
				if got[name] <= 0 {
					t.Errorf("Do(%q): %s = %v, want more than 0", c.scenario, name, got[name])
				}
			}
		})
	}
}

func TestFanoutShape(t *testing.T) {
	t.Parallel()
	b, r := newBench(t, &tiny{}), &report.Result{}
	if err := b.fanoutShape(t.Context(), r, 0, 3, 5); err != nil || len(r.Problems) > 0 {
		t.Fatalf("fanoutShape(3, 5) = problems %q, error %v, want none", r.Problems, err)
	}
	if got := figures(r)["3 × 5, 16 in flight: deliveries"]; got <= 0 {
		t.Errorf("fanoutShape(3, 5): deliveries = %v, want more than 0", got)
	}
}

// The storm resets every connection.
func TestStormBringsAllBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, &tiny{})
	r, err := b.Do(t.Context(), "storm")
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("Do(storm) = problems %q, error %v, want none", r.Problems, err)
	}
	if got := figures(r)["connections"]; got != 40 {
		t.Errorf("Do(storm): connections = %v, want 40", got)
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	if err := newBench(t, &tiny{}).Await(t.Context()); err != nil {
		t.Errorf("Await = %v, want nil", err)
	}
}

func TestRepeatsAreProblems(t *testing.T) {
	t.Parallel()
	r, err := newBench(t, &tiny{repeat: true}).Do(t.Context(), "send")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, "repeated") }) {
		t.Errorf("Do(send) on a server that repeats = problems %q, want repeated events among them", r.Problems)
	}
}

func TestRefusedToken(t *testing.T) {
	t.Parallel()
	b := newBench(t, &tiny{})
	b.System.Secret = "another secret that the server does not know"
	r, err := b.Do(t.Context(), "send")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, "refused") }) {
		t.Errorf("Do(send) with a wrong secret = problems %q, want the refusal", r.Problems)
	}
}
