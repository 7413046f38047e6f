package transport

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// queued is a Conn in memory, to go over to.
type queued struct {
	mu      sync.Mutex
	bytes   []byte
	flushed int
	paused  []bool
	closed  []Reason
}

func (q *queued) Queue(m *Message) bool { return q.add(m.frames) }

func (q *queued) QueueRun(run []Suffixed) (taken int) {
	for _, s := range run {
		if q.add(s.Message.AppendSuffixed(nil, s.Suffix)) {
			taken++
		}
	}
	return taken
}

func (q *queued) add(b []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes = append(q.bytes, b...)
	return true
}

func (q *queued) Admitted() {}

func (q *queued) FlushDue() bool { return false }

func (q *queued) Flush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flushed = len(q.bytes)
}

func (q *queued) Close(_ Code, reason Reason) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = append(q.closed, reason)
}

func (q *queued) PauseRead()  { q.pause(true) }
func (q *queued) ResumeRead() { q.pause(false) }

func (q *queued) pause(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.paused = append(q.paused, on)
}

func (q *queued) QueuedBytes() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.bytes) - q.flushed
}

// got reads the flushed frames: "text" or "b:bytes".
func (q *queued) got(t *testing.T) (list []string) {
	t.Helper()
	q.mu.Lock()
	flushed := bytes.Clone(q.bytes[:q.flushed])
	q.mu.Unlock()
	for _, f := range frames(t, flushed) {
		if f.Header.OpCode == opBinary {
			list = append(list, "b:"+string(f.Payload))
			continue
		}
		list = append(list, string(f.Payload))
	}
	return list
}

func TestUpgradeMovesEverything(t *testing.T) {
	p, owner := newPolling(t, plenty)
	waiting := get(t.Context(), p)
	p.Release()
	wantAnswer(t, waiting, "6", nil)
	p.Release() // nobody waits: nothing
	p.Queue(TextMessage("4a"))
	p.Queue(withAttachments("451-[]", []byte{1, 2}))
	p.PauseRead()
	next := &queued{}
	if !p.Upgrade(next) {
		t.Fatal("Upgrade = false, want true")
	}
	select {
	case <-p.Upgraded():
	default:
		t.Error("Upgraded is not closed")
	}
	if p.Upgrade(&queued{}) {
		t.Error("second Upgrade = true, want false")
	}
	wantPoll(t, p, "", ErrUpgraded)
	p.Queue(TextMessage("4b"))
	p.QueueRun([]Suffixed{{TextMessage(`42["e"]`), []byte(`,"o"]`)}})
	if p.QueuedBytes() == 0 {
		t.Error("QueuedBytes() = 0 with packets queued after the upgrade")
	}
	p.Flush()
	want := []string{"4a", "451-[]", "b:\x01\x02", "4b", `42["e","o"]`}
	if diff := cmp.Diff(want, next.got(t)); diff != "" {
		t.Errorf("next got: -want +got\n%s", diff)
	}
	p.ResumeRead()
	p.PauseRead()
	if diff := cmp.Diff([]bool{true, false, true}, next.paused); diff != "" {
		t.Errorf("next was paused and resumed: -want +got\n%s", diff)
	}
	p.Close(CodeNormal, ReasonServer)
	if diff := cmp.Diff([]Reason{ReasonServer}, next.closed); diff != "" {
		t.Errorf("next was closed: -want +got\n%s", diff)
	}
	if p.Pending() {
		t.Error("Pending() = true after the upgrade, want false")
	}
	select {
	case <-owner.ended:
		t.Error("Closed came from the polling, want it from the new conn")
	case <-time.After(10 * time.Millisecond):
	}
}

// TestNoNoopOverWebSocket: a noop that released nobody's GET in time is dropped at the upgrade.
func TestNoNoopOverWebSocket(t *testing.T) {
	p, _ := newPolling(t, plenty)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := get(ctx, p)
	p.mu.Lock() // the GET does not get to its noop before it is aborted
	p.wake = make(chan struct{})
	p.mu.Unlock()
	p.Release()
	cancel()
	wantAnswer(t, waiting, "", context.Canceled)
	p.Queue(TextMessage("4a"))
	next := &queued{}
	p.Upgrade(next)
	if diff := cmp.Diff([]string{"4a"}, next.got(t)); diff != "" {
		t.Errorf("next got: -want +got\n%s", diff)
	}
	if p.Release(); len(next.got(t)) != 1 {
		t.Errorf("Release after the upgrade sends %q", next.got(t))
	}
}

func TestUpgradeOfTheEnded(t *testing.T) {
	p, _ := newPolling(t, plenty)
	p.Close(CodeNormal, ReasonServer)
	if p.Upgrade(&queued{}) {
		t.Error("Upgrade of a closed conn = true, want false")
	}
	// One that has refused an event would go on with a hole.
	p, _ = newPolling(t, Limits{MaxMessage: 200, SendQueue: 100})
	for p.Queue(TextMessage("4" + strings.Repeat("x", 60))) {
	}
	if !p.FlushDue() || p.Upgrade(&queued{}) {
		t.Error("Upgrade of a slow conn before its flush = true, want false")
	}
	p, _ = newPolling(t, plenty)
	waiting := get(t.Context(), p)
	if !p.Upgrade(&queued{}) {
		t.Error("Upgrade with a waiting GET = false, want true")
	}
	wantAnswer(t, waiting, "", ErrUpgraded)
}

// TestPollingConcurrently: several queue, one polls, and in the middle comes the upgrade. Nothing is lost, repeated or
// overtaken by a later packet of the same sender.
func TestPollingConcurrently(t *testing.T) {
	const senders, packets = 4, 300
	for _, upgrade := range []bool{true, false} {
		p, _ := newPolling(t, Limits{MaxMessage: 200, SendQueue: 1 << 20})
		next := &queued{}
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range packets {
					m := withAttachments(fmt.Sprintf("4%d:%d]", s, i), []byte{byte(s)})
					ok := false
					if i%2 == 0 {
						ok = p.Queue(m)
					} else {
						ok = p.QueueRun([]Suffixed{{m, []byte("]")}}) == 1
					}
					if !ok {
						t.Errorf("Queue(%s) = false, want true", m.text)
					}
					p.Flush()
				}
			})
		}
		if upgrade {
			wg.Go(func() {
				time.Sleep(time.Millisecond)
				p.Release()
				p.Upgrade(next)
			})
		}
		polled := make(chan []string, 1)
		ctx, stop := context.WithTimeout(t.Context(), patience)
		go func() {
			var got []string
			for len(got) < 2*senders*packets {
				body, err := p.Poll(ctx)
				if err != nil {
					break
				}
				if string(body) != "6" {
					got = append(got, strings.Split(string(body), "\x1e")...)
				}
			}
			polled <- got
		}()
		wg.Wait()
		got := <-polled
		stop()
		got = append(got, next.got(t)...)
		last := make([]int, senders)
		for i, packet := range got {
			if packet[0] == 'b' {
				continue
			}
			var s, n int
			if _, err := fmt.Sscanf(packet, "4%d:%d]", &s, &n); err != nil {
				t.Fatalf("packet %q: %v", packet, err)
			}
			if n != last[s] {
				t.Fatalf("upgrade %v: packet %d of sender %d comes when %d is due", upgrade, n, s, last[s])
			}
			last[s]++
			if i+1 == len(got) || got[i+1][0] != 'b' {
				t.Fatalf("upgrade %v: %q comes without its attachment", upgrade, packet)
			}
		}
		for s, n := range last {
			if n != packets {
				t.Errorf("upgrade %v: %d packets of sender %d came, want %d", upgrade, n, s, packets)
			}
		}
	}
}
