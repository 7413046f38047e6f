package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newPolling(t *testing.T, limits Limits) (*Polling, *session) {
	t.Helper()
	s := NewServer(limits, slog.New(slog.DiscardHandler))
	p := s.NewPolling()
	owner := &session{conn: p, ended: make(chan struct{})}
	p.Bind(owner)
	t.Cleanup(s.Wait)
	return p, owner
}

var plenty = Limits{MaxMessage: 1000, SendQueue: 10_000}

type polledBody struct {
	body string
	err  error
}

// get polls in the background and returns when the GET waits, or is answered.
func get(ctx context.Context, p *Polling) <-chan polledBody {
	answer := make(chan polledBody, 1)
	go func() {
		body, err := p.Poll(ctx)
		answer <- polledBody{string(body), err}
	}()
	for end := time.Now().Add(patience); time.Now().Before(end) && len(answer) == 0; {
		p.mu.Lock()
		waits := p.wake != nil
		p.mu.Unlock()
		if waits {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	return answer
}

func wantAnswer(t *testing.T, answer <-chan polledBody, body string, err error) {
	t.Helper()
	select {
	case got := <-answer:
		if got.body != body || !errors.Is(got.err, err) {
			t.Errorf("Poll() = %q, %v, want %q, %v", got.body, got.err, body, err)
		}
	case <-time.After(patience):
		t.Errorf("Poll() is not answered, want %q, %v", body, err)
	}
}

func wantPoll(t *testing.T, p *Polling, body string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	wantAnswer(t, get(ctx, p), body, err)
}

func withAttachments(text string, attachments ...[]byte) *Message {
	b := NewBuilder(len(text))
	return b.Message(append(b.Buffer(), text...), attachments)
}

func TestPollGivesWhatIsQueued(t *testing.T) {
	p, _ := newPolling(t, plenty)
	p.Queue(TextMessage("4a"))
	p.Queue(withAttachments("451-[]", []byte{1, 2}, []byte("x")))
	p.QueueRun([]Suffixed{{TextMessage(`42["e"]`), []byte(`,"o"]`)}})
	if got := p.QueuedBytes(); got < len("4a451-[]")+3 {
		t.Errorf("QueuedBytes() = %d with packets queued", got)
	}
	wantPoll(t, p, "4a\x1e451-[]\x1ebAQI=\x1ebeA==\x1e"+`42["e","o"]`, nil)
	if got := p.QueuedBytes(); got != 0 {
		t.Errorf("QueuedBytes() = %d after Poll, want 0", got)
	}
	waiting := get(t.Context(), p)
	p.Queue(TextMessage("4b"))
	select {
	case got := <-waiting:
		t.Errorf("Poll() = %q before Flush", got.body)
	case <-time.After(10 * time.Millisecond):
	}
	p.Flush()
	wantAnswer(t, waiting, "4b", nil)
}

// TestSuffixDoesNotTouchTheSharedMessage: the same message goes to many conns, each with its own offset.
func TestSuffixDoesNotTouchTheSharedMessage(t *testing.T) {
	m := TextMessage(`42["e"]`)
	for i := range 3 {
		p, _ := newPolling(t, plenty)
		p.QueueRun([]Suffixed{{m, fmt.Appendf(nil, `,"%d"]`, i)}})
		wantPoll(t, p, fmt.Sprintf(`42["e","%d"]`, i), nil)
	}
	if string(m.text) != `42["e"]` {
		t.Errorf("the message is %q now", m.text)
	}
}

func TestPollBodyHasABound(t *testing.T) {
	p, _ := newPolling(t, Limits{MaxMessage: 100, SendQueue: 10_000})
	text := func(c string) string { return "4" + strings.Repeat(c, 40) }
	for _, c := range []string{"a", "b", "c"} {
		p.Queue(TextMessage(text(c)))
	}
	big := "4" + strings.Repeat("B", 500) // over the bound alone: a body of its own
	p.Queue(TextMessage(big))
	p.Queue(withAttachments("451-[]", bytes.Repeat([]byte("z"), 90)))
	p.Queue(TextMessage("4end"))
	var all []string
	for p.QueuedBytes() > 0 {
		body, err := p.Poll(t.Context()) // it need not wait
		if err != nil {
			t.Fatalf("Poll() = %v with packets queued, want some", err)
		}
		if parts := strings.Split(string(body), "\x1e"); len(body) > 100 && parts[0] != big && parts[0] != "451-[]" {
			t.Errorf("a body of %d bytes: %.50q, want 100 at most", len(body), body)
		}
		all = append(all, strings.Split(string(body), "\x1e")...)
	}
	want := []string{text("a"), text("b"), text("c"), big, "451-[]", "b" + strings.Repeat("enp6", 30), "4end"}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("polled: -want +got\n%s", diff)
	}
}

func TestOverlappingPolls(t *testing.T) {
	p, owner := newPolling(t, plenty)
	first := get(t.Context(), p)
	if _, err := p.Poll(t.Context()); !errors.Is(err, ErrOverlap) {
		t.Errorf("second Poll = %v, want ErrOverlap", err)
	}
	p.CloseOverlapped()
	wantAnswer(t, first, "1", nil)
	if got := owner.reason(t); got != ReasonProtocol {
		t.Errorf("Closed(%s), want protocol", got)
	}
	wantPoll(t, p, "", ErrClosed)
	p.CloseOverlapped() // again: nothing
	wantPoll(t, p, "", ErrClosed)
}

func TestAbortedPoll(t *testing.T) {
	p, _ := newPolling(t, plenty)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := get(ctx, p)
	cancel()
	wantAnswer(t, waiting, "", context.Canceled)
	p.Queue(TextMessage("4a")) // the conn itself does not mind: the session decides
	wantPoll(t, p, "4a", nil)
}

func TestSlowPolling(t *testing.T) {
	p, owner := newPolling(t, Limits{MaxMessage: 1000, SendQueue: 100})
	volatile := TextMessage("4" + strings.Repeat("v", 39))
	volatile.volatile = true
	durable := TextMessage("4" + strings.Repeat("d", 39))
	if !p.Queue(volatile) || !p.Queue(durable) {
		t.Error("Queue = false below the bound, want true")
	}
	if p.Queue(volatile) {
		t.Error("Queue of a volatile message = true with the queue over half full, want false")
	}
	select {
	case <-owner.ended:
		t.Fatal("a volatile message closed the conn")
	default:
	}
	if p.Queue(durable) || !p.FlushDue() {
		t.Error("Queue over the bound = true, or no flush is due, want false, and Flush to close the conn")
	}
	p.Flush()
	if got := owner.reason(t); got != ReasonSlow {
		t.Errorf("Closed(%s), want slow", got)
	}
	if p.Queue(TextMessage("4")) || p.QueuedBytes() != 0 {
		t.Errorf("a slow conn still takes packets, and has %d bytes", p.QueuedBytes())
	}
	wantPoll(t, p, "", ErrClosed)

	p, _ = newPolling(t, Limits{MaxMessage: 1000, SendQueue: 100})
	long := "4" + strings.Repeat("h", 500)
	if !p.Queue(TextMessage(long)) {
		t.Error("Queue of one message over the bound = false, want true: a long history")
	}
	wantPoll(t, p, long, nil)
}

// TestPollingClose: what the client still hears depends on who ended it, and why. The close packet comes in a body of its own.
func TestPollingClose(t *testing.T) {
	for reason, want := range map[Reason][]string{
		ReasonServer: {"4a", "1"}, ReasonDrain: {"4a", "1"}, ReasonExpired: {"4a", "1"}, ReasonOverload: {"4a", "1"},
		ReasonNoConnect: {"4a", "1"}, ReasonRefused: {"4a", "1"},
		ReasonClient: {"6"},
		ReasonLost:   nil, ReasonPingTimeout: nil, ReasonProtocol: nil, ReasonReplaced: nil, ReasonTooBig: nil, ReasonDisplaced: nil,
	} {
		for _, waiting := range []bool{false, true} {
			p, owner := newPolling(t, plenty)
			var answer <-chan polledBody
			if waiting {
				answer = get(t.Context(), p)
			}
			p.Queue(TextMessage("4a"))
			p.Close(CodeNormal, reason)
			p.Close(CodeNormal, ReasonLost) // the first reason wins
			if got := owner.reason(t); got != reason {
				t.Errorf("Closed(%s), want %s", got, reason)
			}
			if p.Queue(TextMessage("4late")) {
				t.Errorf("%s: Queue = true after Close, want false", reason)
			}
			if !waiting {
				if got := p.Pending(); got != (want != nil) {
					t.Errorf("%s: Pending() = %v, want %v", reason, got, want != nil)
				}
				answer = get(t.Context(), p)
			}
			if want == nil {
				wantAnswer(t, answer, "", ErrClosed)
			} else {
				wantAnswer(t, answer, want[0], nil)
				for _, more := range want[1:] {
					wantPoll(t, p, more, nil)
				}
			}
			if p.Pending() {
				t.Errorf("%s: Pending() after the final packets, want false", reason)
			}
			wantPoll(t, p, "", ErrClosed) // said once
		}
	}
}

// TestLongFinalPackets: the close packet comes after everything that was queued, however many bodies that takes.
func TestLongFinalPackets(t *testing.T) {
	p, _ := newPolling(t, Limits{MaxMessage: 10, SendQueue: 1000})
	for i := range 3 {
		p.Queue(TextMessage(fmt.Sprintf("4message%d", i)))
	}
	p.Close(CodeRestart, ReasonDrain)
	for i := range 2 {
		wantPoll(t, p, fmt.Sprintf("4message%d", i), nil)
		if !p.Pending() {
			t.Fatal("Pending() = false with words left, want true")
		}
	}
	wantPoll(t, p, "4message2", nil)
	wantPoll(t, p, "1", nil)
	wantPoll(t, p, "", ErrClosed)
}

func TestPausePolling(t *testing.T) {
	p, _ := newPolling(t, plenty)
	await := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() { done <- p.AwaitResumed(ctx) }()
		return done
	}
	want := func(done <-chan error, want error) {
		t.Helper()
		select {
		case err := <-done:
			if !errors.Is(err, want) {
				t.Errorf("AwaitResumed() = %v, want %v", err, want)
			}
		case <-time.After(patience):
			t.Error("AwaitResumed does not return")
		}
	}
	want(await(t.Context()), nil)
	p.PauseRead()
	p.PauseRead()
	done := await(t.Context())
	select {
	case err := <-done:
		t.Errorf("AwaitResumed() = %v while paused", err)
	case <-time.After(10 * time.Millisecond):
	}
	p.ResumeRead()
	want(done, nil)
	p.PauseRead()
	ctx, cancel := context.WithCancel(t.Context())
	done = await(ctx)
	cancel()
	want(done, context.Canceled)
	done = await(t.Context())
	p.Close(CodeNormal, ReasonServer) // nobody waits for a closed conn
	want(done, nil)
	p.PauseRead()
	want(await(t.Context()), nil)
}

// TestPollersThatQuarrel: a client that breaks the rules, with GETs at once and aborted ones, must not leave a GET waiting
// for ever.
func TestPollersThatQuarrel(t *testing.T) {
	p, _ := newPolling(t, plenty)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 500 {
				call, cancel := context.WithTimeout(ctx, time.Duration(n%5)*50*time.Microsecond)
				_, err := p.Poll(call)
				cancel()
				if i == 0 && errors.Is(err, ErrClosed) {
					t.Error("Poll = ErrClosed of an open conn")
				}
			}
		})
	}
	wg.Go(func() {
		for range 500 {
			p.Queue(TextMessage("4"))
			p.Flush()
		}
	})
	wg.Wait()
	for p.QueuedBytes() > 0 {
		if _, err := p.Poll(ctx); err != nil {
			t.Fatalf("Poll of what is left = %v", err)
		}
	}
	waiting := get(ctx, p)
	p.Queue(TextMessage("4last"))
	p.Flush()
	wantAnswer(t, waiting, "4last", nil)
}

// TestAnsweredPollDoesNotUnsettleTheNext: a GET that was woken, but found its packets taken by another one, must not make
// the conn forget the GET that waits by now.
func TestAnsweredPollDoesNotUnsettleTheNext(t *testing.T) {
	p, _ := newPolling(t, plenty)
	first := get(t.Context(), p)
	p.mu.Lock()
	p.wakeLocked() // by a packet that a second GET took
	third := make(chan struct{})
	p.wake = third
	p.mu.Unlock()
	wantAnswer(t, first, "", ErrOverlap)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake != third {
		t.Error("the third GET is forgotten")
	}
}

// TestPollingLargeMessage: a message that alone is over the bound, such as a long history, waits beside it, and so does what
// follows it; a second one is too much.
func TestPollingLargeMessage(t *testing.T) {
	p, owner := newPolling(t, Limits{MaxMessage: 10_000, SendQueue: 100})
	small, large := TextMessage(strings.Repeat("s", 40)), TextMessage(strings.Repeat("l", 500))
	for i, m := range []*Message{small, large, small} {
		if !p.Queue(m) {
			t.Fatalf("message %d was not taken", i)
		}
	}
	body, err := p.Poll(t.Context())
	if err != nil || len(body) < 580 {
		t.Fatalf("Poll = %d bytes, %v, want all three", len(body), err)
	}
	if !p.Queue(large) || p.Queue(large) {
		t.Error("want one large message taken again and a second one not")
	}
	p.Flush()
	owner.reason(t)
}
