package relay

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/calls"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/stall"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// taker is a service that takes several events a request; reply answers each request, nil for no answer.
type taker struct {
	mu       sync.Mutex
	requests []string // "attempt: args args …"
}

func (w *world) take(t *testing.T, catalog *eventv1.Catalog, event string, reply func(n int, e *eventv1.ClientEvent) *eventv1.ClientReply) *taker {
	t.Helper()
	k := &taker{}
	subj, err := subject.ClientEvent("/", event)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.service.QueueSubscribe(subj, "q", func(msg *nats.Msg) {
		var e eventv1.ClientEvent
		if err := proto.Unmarshal(msg.Data, &e); err != nil {
			t.Error(err)
		}
		all := []string{string(e.GetArgs())}
		for _, m := range e.GetMore() {
			all = append(all, string(m.GetArgs()))
		}
		k.mu.Lock()
		k.requests = append(k.requests, fmt.Sprintf("%d: %s", e.GetAttempt(), strings.Join(all, " ")))
		n := len(k.requests)
		k.mu.Unlock()
		if answer := reply(n, &e); answer != nil {
			raw, _ := proto.Marshal(answer)
			_ = msg.Respond(raw)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.service.Flush(); err != nil {
		t.Fatal(err)
	}
	catalog.Service, catalog.Patterns = "taker", append(catalog.Patterns, subj)
	catalog.Batched = catalog.Patterns
	w.announceAll(t, catalog)
	return k
}

func (k *taker) got() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.requests...)
}

// echoAll acknowledges each event with its arguments.
func echoAll(_ int, e *eventv1.ClientEvent) *eventv1.ClientReply {
	reply := &eventv1.ClientReply{AckArgs: e.GetArgs()}
	for _, m := range e.GetMore() {
		reply.More = append(reply.More, &eventv1.ClientReply{AckArgs: m.GetArgs()})
	}
	return reply
}

// TestBatches: what waits behind the event in flight goes as one request, as far as the service takes it and the name is the
// same; acks come in order.
func TestBatches(t *testing.T) {
	w := newWorld(t, nil)
	release := make(chan struct{})
	do := w.take(t, &eventv1.Catalog{Batch: 3}, "do", func(n int, e *eventv1.ClientEvent) *eventv1.ClientReply {
		if n == 1 {
			<-release
		}
		return echoAll(n, e)
	})
	c := w.connect(t, "u")
	for i := range 6 {
		c.Say(fmt.Sprintf(`42%d["do",%d]`, i, i))
	}
	c.Say(`426["other",6]`, `427["do",7]`, `428["do",8]`)
	close(release)
	c.WaitFor(t, "438[8]")
	if diff := cmp.Diff([]string{"0: [0]", "0: [1] [2] [3]", "0: [4] [5]", "0: [7] [8]"}, do.got()); diff != "" {
		t.Errorf("requests: -want +got\n%s", diff)
	}
	var acks []string
	for _, p := range c.Packets() {
		if strings.HasPrefix(p, "43") {
			acks = append(acks, p[2:3])
		}
	}
	if got := strings.Join(acks, ""); got != "012345678" {
		t.Errorf("acks in the order %s, want 012345678", got)
	}
}

// TestBatchRefused: a fault of the request as a whole is every event's.
func TestBatchRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.take(t, &eventv1.Catalog{Batch: 10}, "do", func(int, *eventv1.ClientEvent) *eventv1.ClientReply {
		return &eventv1.ClientReply{Fault: &eventv1.Fault{Code: "unavailable", Message: "busy"}}
	})
	c := w.connect(t, "u")
	for i := range 5 {
		c.Say(fmt.Sprintf(`42%d["do",%d]`, i, i))
	}
	for i := range 5 {
		if got := c.WaitFor(t, fmt.Sprintf("43%d", i)); !strings.Contains(got, `"unavailable"`) {
			t.Errorf("ack %d = %s, want unavailable", i, got)
		}
	}
}

// TestRepeats: a request without an answer goes out again, to whoever lives; a passing refusal of one attempt is not the
// answer while another attempt is out.
func TestRepeats(t *testing.T) { inTime(t, repeats) }

func repeats(t *testing.T, timeout time.Duration) bool {
	t.Helper()
	w := newWorld(t, func(c *settings) { c.Events.Timeout = timeout })
	died := w.take(t, &eventv1.Catalog{Batch: 10, Repeats: true}, "died", func(n int, e *eventv1.ClientEvent) *eventv1.ClientReply {
		switch n {
		case 1:
			return nil
		case 2:
			return &eventv1.ClientReply{Fault: &eventv1.Fault{Code: "unavailable", Message: "busy"}}
		}
		return echoAll(n, e)
	})
	c := w.connect(t, "u")
	c.Say(`421["died",1]`)
	got := c.WaitFor(t, "431")
	if strings.Contains(got, `"timeout"`) {
		return false
	}
	if got != "431[1]" {
		t.Errorf("ack = %s, want the third attempt's", got)
	}
	if diff := cmp.Diff([]string{"0: [1]", "1: [1]", "1: [1]"}, died.got()); diff != "" {
		t.Errorf("requests: -want +got\n%s", diff)
	}

	refused := w.take(t, &eventv1.Catalog{Batch: 10, Repeats: true, Patterns: []string{"client.v1.root.died"}}, "refused", func(n int, _ *eventv1.ClientEvent) *eventv1.ClientReply {
		if n == 1 {
			return nil
		}
		return &eventv1.ClientReply{Fault: &eventv1.Fault{Code: "forbidden", Message: "no"}}
	})
	c.Say(`422["refused",1]`)
	got = c.WaitFor(t, "432")
	if strings.Contains(got, `"timeout"`) {
		return false
	}
	if !strings.Contains(got, `"forbidden"`) || len(refused.got()) != 2 {
		t.Errorf("ack = %s after %d attempts, want forbidden after the second", got, len(refused.got()))
	}
	return true
}

// inTime tries something with a patience for services that is long enough on most machines, and with a longer one on slower machines.
func inTime(t *testing.T, try func(t *testing.T, timeout time.Duration) bool) {
	t.Helper()
	for timeout := 2 * time.Second; !try(t, timeout); timeout *= 3 {
		if timeout > sessiontest.Patience {
			t.Fatalf("not within %v", timeout)
		}
	}
}

// TestRefusedByOneReplica: what one replica is not able to do is asked of another, as if for the first time.
func TestRefusedByOneReplica(t *testing.T) {
	w := newWorld(t, nil)
	do := w.take(t, &eventv1.Catalog{Batch: 10, Repeats: true}, "do", func(n int, e *eventv1.ClientEvent) *eventv1.ClientReply {
		if n < 3 {
			return &eventv1.ClientReply{Fault: &eventv1.Fault{Code: "unavailable", Message: "no database"}}
		}
		return echoAll(n, e)
	})
	c := w.connect(t, "u")
	c.Say(`421["do",1]`)
	if got := c.WaitFor(t, "431"); got != "431[1]" {
		t.Errorf("ack = %s, want the third replica's", got)
	}
	if diff := cmp.Diff([]string{"0: [1]", "0: [1]", "0: [1]"}, do.got()); diff != "" {
		t.Errorf("requests: -want +got\n%s", diff)
	}
	const attempts = 4 // that package calls makes
	never := w.take(t, &eventv1.Catalog{Repeats: true}, "never", func(int, *eventv1.ClientEvent) *eventv1.ClientReply {
		return &eventv1.ClientReply{Fault: &eventv1.Fault{Code: "unavailable", Message: "no database"}}
	})
	c.Say(`422["never",1]`)
	if got := c.WaitFor(t, "432"); !strings.Contains(got, `"unavailable"`) || len(never.got()) != attempts {
		t.Errorf("ack = %s after %d attempts, want unavailable after %d", got, len(never.got()), attempts)
	}
}

// TestStalledGateway: what a gateway reads after it stood still is not forwarded.
func TestStalledGateway(t *testing.T) {
	w := newWorld(t, nil)
	do := w.take(t, &eventv1.Catalog{}, "do", echoAll)
	old := w.connect(t, "u")
	time.Sleep(time.Millisecond)                // the session is older than the stall's end
	w.relay.stalls = stall.New(time.Nanosecond) // everything is a stall
	w.relay.stalls.Resumed(time.Now())
	old.Say(`421["do",1]`)
	if code, reason := old.WaitEnded(t); code != transport.CodeTryAgainLater || reason != transport.ReasonStalled {
		t.Errorf("closed with %d, %s, want 1013, stalled", code, reason)
	}
	if got := do.got(); len(got) != 0 {
		t.Errorf("requests = %v, want none", got)
	}
}

// TestPartlyDone: what one attempt did is not called refused because another could not, and is not asked for as if for the
// first time.
func TestPartlyDone(t *testing.T) { inTime(t, partlyDone) }

func partlyDone(t *testing.T, timeout time.Duration) bool {
	t.Helper()
	w := newWorld(t, func(c *settings) { c.Events.Timeout = timeout })
	first := make(chan *nats.Msg, 1)
	subj, _ := subject.ClientEvent("/", "do")
	attempts := make(chan *nats.Msg, 10)
	if _, err := w.service.ChanSubscribe(subj, attempts); err != nil {
		t.Fatal(err)
	}
	_ = w.service.Flush()
	w.announceAll(t, &eventv1.Catalog{Service: "taker", Patterns: []string{subj}, Batch: 10, Batched: []string{subj}, Repeats: true})
	respond := func(msg *nats.Msg, r *eventv1.ClientReply) {
		raw, _ := proto.Marshal(r)
		_ = msg.Respond(raw)
	}
	c := w.connect(t, "u")
	c.Say(`420["do",0]`)
	one := <-attempts
	c.Say(`421["do",1]`, `422["do",2]`)
	respond(one, &eventv1.ClientReply{AckArgs: []byte("[0]")})
	first <- <-attempts  // of 1 and 2
	second := <-attempts // again, for want of an answer
	away := &eventv1.ClientReply{Fault: &eventv1.Fault{Code: "unavailable"}}
	respond(<-first, &eventv1.ClientReply{AckArgs: []byte("[1]"), More: []*eventv1.ClientReply{away}})
	respond(second, away)
	did, didNot := c.WaitFor(t, "431"), c.WaitFor(t, "432")
	if strings.Contains(did+didNot, `"timeout"`) {
		return false
	}
	if did != "431[1]" {
		t.Errorf("ack of what the first attempt did = %s, want its answer", did)
	}
	if !strings.Contains(didNot, `"unavailable"`) {
		t.Errorf("ack of what no attempt did = %s, want unavailable", didNot)
	}
	return true
}

// TestLastWords: what a client says right before it goes is done.
func TestLastWords(t *testing.T) {
	w := newWorld(t, nil)
	do := w.take(t, &eventv1.Catalog{}, "do", echoAll)
	for _, goodbye := range []string{"41", "1"} {
		before := len(do.got())
		w.connect(t, "u").SayTogether(`421["do",1]`, goodbye)
		sessiontest.Eventually(t, func() bool { return len(do.got()) > before }, func() string {
			return "an event before " + goodbye + " in the same read was not done"
		})
	}
}

// TestNoRepeats: without the service's word a request goes out once, and ends as timeout.
func TestNoRepeats(t *testing.T) {
	w := newWorld(t, func(c *settings) { c.Events.Timeout = time.Second })
	silent := w.take(t, &eventv1.Catalog{}, "silent", func(int, *eventv1.ClientEvent) *eventv1.ClientReply { return nil })
	c := w.connect(t, "u")
	c.Say(`421["silent",1]`)
	if got := c.WaitFor(t, "431"); !strings.Contains(got, `"timeout"`) || len(silent.got()) != 1 {
		t.Errorf("ack = %s after %d requests, want timeout after one", got, len(silent.got()))
	}
}

// TestTimeLeft: whoever works on an event has to end before EVENT_TIMEOUT is over, however long the event has waited, and early enough
// for a call to be given up and the answer to be written.
func TestTimeLeft(t *testing.T) {
	now := time.Now()
	for _, whole := range []time.Duration{100 * time.Millisecond, time.Second, 4500 * time.Millisecond, time.Minute} {
		r := &Relay{cfg: Config{Events: EventLimits{Timeout: whole}}}
		for waited := time.Duration(0); waited < 2*whole; waited += whole / 20 {
			left, enough := r.timeLeft(&pending{receivedAt: now.Add(-waited)}, now)
			reserve := whole - waited - left
			if reserve < min(2*calls.Tick, whole/10) || reserve > whole/10 {
				t.Errorf("of %v, after %v: %v are left, which keeps %v for the answer", whole, waited, left, reserve)
			}
			if enough != (left >= whole/leastShare) {
				t.Errorf("of %v, after %v: %v are enough: %v", whole, waited, left, enough)
			}
		}
	}
}

// TestTasksEndInTime: an event that the gateway carries out itself is answered within EVENT_TIMEOUT, too, while a service hangs.
func TestTasksEndInTime(t *testing.T) {
	w := newWorld(t, func(c *settings) { c.Events.Timeout = time.Second }) // others wait for auth-service as long as the test does
	c := w.connect(t, "u.first")
	hold := make(chan struct{})
	defer close(hold)
	w.auth.mu.Lock()
	w.auth.hold = hold
	w.auth.mu.Unlock()
	c.Say(`421["auth:refresh",{"token":"u.second"}]`)
	if got := c.WaitFor(t, "431"); !strings.Contains(got, `"timeout"`) && !strings.Contains(got, `"unavailable"`) {
		t.Errorf("auth:refresh while auth-service hangs is answered by %s, want timeout or unavailable", got)
	}
}

// TestPatience: a request says for how long it is waited for, and what was heard of the clocks of those who may get it; a repeat says both
// anew, as they are by then.
func TestPatience(t *testing.T) {
	w := newWorld(t, nil)
	asked := make(chan *eventv1.ClientEvent, 10)
	catalog := &eventv1.Catalog{Repeats: true, Replica: 7, ClockMs: 100}
	w.take(t, catalog, "do", func(n int, e *eventv1.ClientEvent) *eventv1.ClientReply {
		asked <- e
		if n > 1 {
			return echoAll(n, e)
		}
		catalog.ClockMs = 2100
		w.announceAll(t, catalog)
		return &eventv1.ClientReply{Fault: &eventv1.Fault{Code: "unavailable"}} // so that it goes out again
	})
	c := w.connect(t, "u")
	c.Say(`421["do",1]`)
	if got := c.WaitFor(t, "431"); got != "431[1]" || len(asked) != 2 {
		t.Fatalf("ack = %s after %d attempts", got, len(asked))
	}
	attempts := []*eventv1.ClientEvent{<-asked, <-asked}
	for i, heard := range [][]uint64{{7, 100}, {7, 100, 7, 2100}} {
		if diff := cmp.Diff(heard, attempts[i].GetHeard()); diff != "" {
			t.Errorf("attempt %d has heard (-want +got):\n%s", i, diff)
		}
	}
	first, second := attempts[0].GetPatienceMs(), attempts[1].GetPatienceMs()
	if whole := uint32(w.relay.cfg.Events.Timeout.Milliseconds()); first == 0 || first > whole || second == 0 || second >= first {
		t.Errorf("patience of %d, then %d ms; want less than %d and then less than that", first, second, whole)
	}
}
