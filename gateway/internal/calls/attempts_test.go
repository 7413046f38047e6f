package calls

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/services"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// The events of the tests: a repeat of a star would give a star again that was taken away since, a repeat of a send is recognised.
const (
	star = "client.v1.root.star"
	send = "client.v1.root.send"
)

// says is what a service says to an attempt: of each event of the request ok, or the code of a fault; "nobody" is there to say anything.
type says struct {
	at      int // milliseconds after the request was started
	attempt int
	codes   string
}

// TestAnswers: when a request ends, and with what, by what its attempts are answered. Attempts are made after 0, 1.1, 2.2 and 3.3 s where
// they get no answer, and may be begun for 1.075 s.
func TestAnswers(t *testing.T) {
	for _, tc := range []struct {
		what     string
		subj     string
		events   int
		said     []says
		attempts int
		at       int
		want     string
	}{
		{"the first attempt in time", star, 1, []says{{500, 1, "ok"}}, 1, 500, "ok by 1"},
		{"the first attempt late: held until the second one says what became of it", star, 1, []says{{1500, 1, "ok"}, {1700, 2, "ok"}}, 2, 1700, "ok by 1"},
		{"the first attempt late: held until the second one may not be begun", star, 1, []says{{1500, 1, "ok"}}, 2, 2200, "ok by 1"},
		{"the second attempt, and the first one never", star, 1, []says{{1500, 2, "ok"}}, 2, 1500, "ok by 2"},
		{"the second attempt before the first one", star, 1, []says{{1500, 2, "ok"}, {1600, 1, "ok"}}, 2, 1500, "ok by 2"},
		{"refused late", star, 1, []says{{1500, 1, "forbidden"}, {1600, 2, "ok"}}, 2, 1600, "forbidden"},
		{"held, and the second attempt was not begun", star, 1, []says{{1500, 1, "ok"}, {1600, 2, "unavailable"}}, 2, 1600, "ok by 1"},
		{"held, and nobody got the second attempt", star, 1, []says{{1500, 1, "ok"}, {1600, 2, "nobody"}}, 2, 1600, "ok by 1"},
		{"held, and the second attempt has an unknown outcome", star, 1, []says{{1500, 1, "ok"}, {1600, 2, "timeout"}}, 2, 1600, "ok by 1"},
		{"the second attempt was not begun, then the first one", star, 1, []says{{1500, 2, "unavailable"}, {1600, 1, "ok"}}, 2, 1600, "ok by 1"},
		{"the first attempt when the third one is out", star, 1, []says{{2500, 1, "ok"}, {2600, 2, "ok"}, {2700, 3, "ok"}}, 3, 2700, "ok by 1"},
		{"the first attempt when the last one is out, which may be begun until the end", star, 1, []says{{3500, 1, "ok"}}, 4, 4400, "ok by 1"},
		{"not begun: again at once, and that attempt has its whole time", star, 1, []says{{50, 1, "unavailable"}, {1050, 2, "ok"}}, 2, 1050, "ok by 2"},
		{"not begun, and the next attempt is slow", star, 1, []says{{50, 1, "unavailable"}, {1500, 2, "ok"}}, 3, 2300, "ok by 2"},
		{"two events, of which the first attempt did one", star, 2, []says{{1500, 1, "ok unavailable"}, {1600, 2, "ok ok"}}, 2, 1600, "ok by 1 ok by 2"},
		{"two events by the first attempt late", star, 2, []says{{1500, 1, "ok ok"}, {1600, 2, "unavailable unavailable"}}, 2, 1600, "ok by 1 ok by 1"},
		{"no answer", star, 1, nil, 4, 4400, "timeout"},
		{"of what is recognised, the first attempt late", send, 1, []says{{1500, 1, "ok"}}, 2, 1500, "ok by 1"},
		{"of what is recognised, the second attempt not begun, then the first one", send, 1, []says{{1500, 2, "unavailable"}, {1600, 1, "ok"}}, 2, 1600, "ok by 1"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				r := s.start(tc.subj, tc.events, whole)
				for _, said := range tc.said {
					time.Sleep(time.Duration(said.at)*time.Millisecond - time.Since(r.began))
					synctest.Wait()
					s.say(t, said)
				}
				time.Sleep(2*whole - time.Since(r.began))
				synctest.Wait()
				if took := r.took.Milliseconds(); r.said != tc.want || took != int64(tc.at) || len(s.attempts()) != tc.attempts {
					t.Errorf("%q after %d ms and %d attempts, want %q after %d and %d", r.said, took, len(s.attempts()), tc.want, tc.at, tc.attempts)
				}
				if n := s.calls.Count(); n != 0 {
					t.Errorf("%d calls are open in the end", n)
				}
			})
		})
	}
}

// TestBegin: an attempt says until when it may be begun: for so long that the next one comes after that. What is recognised may be begun as
// long as it is waited for.
func TestBegin(t *testing.T) {
	for _, tc := range []struct {
		subj string
		left time.Duration
		want []string // patience, and of that to begin
	}{
		{star, whole, []string{"4300 1075", "3200 1075", "2100 1075", "1000 1000"}},
		{star, 500 * time.Millisecond, []string{"500 500"}},
		{send, whole, []string{"4300 0", "3200 0", "2100 0", "1000 0"}},
		{send, 500 * time.Millisecond, []string{"500 0", "300 0"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			s.start(tc.subj, 1, tc.left)
			time.Sleep(2 * whole)
			synctest.Wait()
			var got []string
			for i, a := range s.attempts() {
				got = append(got, fmt.Sprint(a.event.GetPatienceMs(), " ", a.event.GetBeginMs()))
				if int(a.event.GetAttempt()) != i {
					t.Errorf("attempt %d says that it is %d", i, a.event.GetAttempt())
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s within %v: -want +got\n%s", tc.subj, tc.left, diff)
			}
		})
	}
}

// whole is how long requests are waited for.
const whole = 4300 * time.Millisecond

// service is a NATS server inside the bubble of a test that keeps what is published, and what stands behind it.
type service struct {
	calls *Calls
	conn  net.Conn

	mu       sync.Mutex // guards what follows
	sid      string     // of the inbox
	received []attempt
}

type attempt struct {
	reply string
	event *eventv1.ClientEvent
}

// newService runs Calls with a service that announces star and send, and says nothing by itself.
func newService(t *testing.T) *service {
	t.Helper()
	s := &service{}
	nc, err := nats.Connect("nats://bubble", nats.InProcessServer(s), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	catalog := services.NewCatalog(nil)
	catalog.Announced(&eventv1.Catalog{Service: "s", Patterns: []string{star, send}, Repeats: true, OneAtATime: []string{star}}, time.Now())
	st := stats.New(prometheus.NewRegistry(), func() int64 { return 0 })
	s.calls = New(Config{MaxInFlight: 100, Timeout: whole}, nc, catalog, st, slog.New(slog.DiscardHandler))
	if _, err := s.calls.Subscribe(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = s.calls.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return s
}

// InProcessConn implements nats.InProcessConnProvider.
func (s *service) InProcessConn() (net.Conn, error) {
	client, server := net.Pipe()
	s.conn = server
	go s.serve(server)
	return client, nil
}

func (s *service) serve(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // a test
	if _, err := io.WriteString(conn, "INFO {\"headers\":true,\"max_payload\":1048576}\r\n"); err != nil {
		return
	}
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		word := strings.Fields(line)
		switch word[0] {
		case "PING":
			_, err = io.WriteString(conn, "PONG\r\n")
		case "SUB": // subject, sid
			s.mu.Lock()
			s.sid = word[2]
			s.mu.Unlock()
		case "PUB": // subject, reply, bytes
			size, _ := strconv.Atoi(word[3])
			raw := make([]byte, size+len("\r\n"))
			a := attempt{reply: word[2], event: &eventv1.ClientEvent{}}
			if _, err = io.ReadFull(r, raw); err == nil {
				err = proto.Unmarshal(raw[:size], a.event)
			}
			s.mu.Lock()
			s.received = append(s.received, a)
			s.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

func (s *service) attempts() []attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received
}

// say answers an attempt.
func (s *service) say(t *testing.T, said says) {
	t.Helper()
	to := s.attempts()[said.attempt-1].reply
	if said.codes == "nobody" {
		const header = "NATS/1.0 503\r\n\r\n"
		_, err := fmt.Fprintf(s.conn, "HMSG %s %s %d %d\r\n%s\r\n", to, s.sid, len(header), len(header), header)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var all []*eventv1.ClientReply
	for code := range strings.FieldsSeq(said.codes) {
		one := &eventv1.ClientReply{Fault: &eventv1.Fault{Code: code}}
		if code == "ok" {
			one = &eventv1.ClientReply{AckArgs: fmt.Appendf(nil, "ok by %d", said.attempt)}
		}
		all = append(all, one)
	}
	all[0].More = all[1:]
	raw, err := proto.Marshal(all[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(s.conn, "MSG %s %s %d\r\n%s\r\n", to, s.sid, len(raw), raw); err != nil {
		t.Fatal(err)
	}
}

func (s *service) start(subj string, events int, left time.Duration) *asked {
	r := &asked{subj: subj, events: events, began: time.Now()}
	s.calls.Start(r, left)
	return r
}

// asked is a request that notes what became of it, and when.
type asked struct {
	subj   string
	events int
	began  time.Time
	took   time.Duration
	said   string
}

func (r *asked) Subject() string     { return r.subj }
func (r *asked) Len() int            { return r.events }
func (r *asked) Encode(n int) []byte { return make([]byte, 0, n) }
func (*asked) Gone() bool            { return false }
func (r *asked) end(said string) {
	r.took, r.said = time.Since(r.began), strings.TrimSpace(r.said+" "+said)
}
func (r *asked) Failed(_ string, f *fault.Error, _ Flush) { r.end(string(f.Kind)) }

func (r *asked) Answered(reply *eventv1.ClientReply, _ Flush) {
	for i := range r.events {
		one := services.ReplyAt(reply, i)
		r.end(one.GetFault().GetCode() + string(one.GetAckArgs()))
	}
}
