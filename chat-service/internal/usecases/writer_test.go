package usecases

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault"
)

// patient is a Writer's configuration without surprises.
var patient = WriterConfig{BatchMax: 100, Queue: 100, Timeout: 4 * time.Second}

// results collects the outcomes of Submit by the order of submission.
type results []rules.Outcome

// submit hands over commands; the outcomes are there when the bubble is quiet.
func submit(t *testing.T, w *Writer, commands ...rules.Command) results {
	t.Helper()
	r := make(results, len(commands))
	for i, c := range commands {
		answered := false
		err := w.Submit(c, func(o rules.Outcome) {
			if answered {
				t.Errorf("command %d was answered twice", i)
			}
			r[i], answered = o, true
		})
		if err != nil {
			r[i] = rules.Outcome{Err: err}
		}
	}
	return r
}

func wantWords(t *testing.T, got results, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, rulestest.Short(got)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func sizes(batches [][]rules.Command) (sizes []int) {
	for _, b := range batches {
		sizes = append(sizes, len(b))
	}
	return sizes
}

func wantBatches(t *testing.T, m *memory, want ...int) {
	t.Helper()
	if diff := cmp.Diff(want, sizes(m.tried())); diff != "" {
		t.Errorf("sizes of the batches tried (-want +got):\n%s", diff)
	}
}

// TestWriterBatches: what comes during a commit is the next batch, up to the bound, and the order of a room is kept.
func TestWriterBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(rulestest.World{"r": {"ann"}}), &published{}
		m.takes = 10 * time.Millisecond
		cfg := patient
		cfg.BatchMax = 3
		w, _ := newTestWriter(t, m, p, cfg)
		first := submit(t, w, rulestest.Send("ann", ""))
		synctest.Wait() // it is being committed
		rest := submit(t, w, rulestest.Send("ann", ""), rulestest.Send("eve", ""), rulestest.Send("ann", ""), rulestest.Send("ann", ""))
		pass(time.Second)
		wantWords(t, first, "11")
		wantWords(t, rest, "12", "forbidden", "13", "14")
		wantBatches(t, m, 1, 3, 1)
		if diff := cmp.Diff([]uint64{11, 12, 13, 14}, p.seqs()); diff != "" {
			t.Errorf("published (-want +got):\n%s", diff)
		}
	})
}

func TestWriterWaitsForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann"}})
		cfg := patient
		cfg.BatchWait = 10 * time.Millisecond
		w, _ := newTestWriter(t, m, &published{}, cfg)
		first := submit(t, w, rulestest.Send("ann", ""))
		pass(5 * time.Millisecond)
		second := submit(t, w, rulestest.Send("ann", ""))
		pass(time.Second)
		wantWords(t, append(first, second...), "11", "12")
		wantBatches(t, m, 2)
	})
}

// TestWriterConflict: a conflict is tried again at once, but not for ever.
func TestWriterConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann"}})
		w, _ := newTestWriter(t, m, &published{}, patient)
		m.will(fate{err: ErrConflict}, fate{err: ErrConflict})
		start := time.Now()
		if o, err := w.Do(t.Context(), rulestest.Send("ann", "")); err != nil || o.Seq != 11 || time.Since(start) > 0 {
			t.Errorf("send = %+v, %v after %v, want seq 11 at once", o, err, time.Since(start))
		}
		m.will(fate{err: ErrConflict}, fate{err: ErrConflict}, fate{err: ErrConflict}, fate{err: ErrConflict})
		if o, err := w.Do(t.Context(), rulestest.Send("ann", "")); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("send with four conflicts = %+v, %v, want unavailable", o, err)
		}
		wantBatches(t, m, 1, 1, 1, 1, 1, 1, 1)
	})
}

// TestWriterUnknownOutcome: the answer is what the lost commit wrote, and nothing is written twice.
func TestWriterUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(rulestest.World{"r": {"ann"}}), &published{}
		m.takes = time.Millisecond
		w, _ := newTestWriter(t, m, p, patient)
		submit(t, w, rulestest.Send("ann", ""))
		synctest.Wait() // it is being committed, so that the two that follow are one batch
		m.will(fate{}, fate{err: ErrUnknown, written: true}, fate{err: ErrUnavailable}, fate{err: ErrUnknown})
		got := submit(t, w, rulestest.Send("ann", ""), rulestest.Send("ann", "c"))
		pass(time.Second)
		wantWords(t, got, "12", "13")
		wantBatches(t, m, 1, 2, 2, 2, 2)
		if diff := cmp.Diff([]uint64{11}, p.seqs()); diff != "" || m.state.Rooms["r"].Seq != 13 {
			t.Errorf("head %d, want 13; published, the others are the outbox's (-want +got):\n%s", m.state.Rooms["r"].Seq, diff)
		}
	})
}

// TestWriterOutcomeStaysUnknown: it is asked for until the deadline, and then the answer does not claim that nothing was done, also
// when the Store refused at the end.
func TestWriterOutcomeStaysUnknown(t *testing.T) {
	refused := fmt.Errorf("%w: %w", ErrUnavailable, fault.Retry(fault.Unavailable, "Service unavailable", time.Second))
	for _, end := range []error{ErrUnknown, ErrUnavailable, ErrConflict, refused} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(rulestest.World{"r": {"ann"}})
			w, _ := newTestWriter(t, m, &published{}, patient)
			first := true
			m.takes = time.Millisecond
			m.fate = func([]rules.Command) fate {
				if first {
					first = false
					return fate{err: ErrUnknown}
				}
				return fate{err: end}
			}
			start := time.Now()
			_, err := w.Do(t.Context(), rulestest.Send("ann", ""))
			if took := time.Since(start); fault.KindOf(err) != fault.Timeout || took < patient.Timeout-commitGrace || took > patient.Timeout {
				t.Errorf("send, in the end %v = %v after %v, want timeout after %v", end, err, took, patient.Timeout)
			}
		})
	}
}

// TestWriterUnavailable: what was not written is tried again a few times, and not at all while the circuit is open.
func TestWriterUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann"}})
		w, _ := newTestWriter(t, m, &published{}, patient)
		m.will(fate{err: ErrUnavailable}, fate{err: ErrUnavailable})
		if o, err := w.Do(t.Context(), rulestest.Send("ann", "")); err != nil || o.Seq != 11 {
			t.Errorf("send = %+v, %v, want seq 11", o, err)
		}
		open := fault.Retry(fault.Unavailable, "Service unavailable", 500*time.Millisecond)
		m.will(fate{err: fmt.Errorf("%w: %w", ErrUnavailable, open)})
		start := time.Now()
		_, err := w.Do(t.Context(), rulestest.Send("ann", ""))
		var f *fault.Error
		if !errors.As(err, &f) || f.RetryAfter != open.RetryAfter || time.Since(start) > 0 {
			t.Errorf("send = %v after %v, want %v at once", err, time.Since(start), open)
		}
		m.will(fate{err: ErrUnavailable}, fate{err: ErrUnavailable}, fate{err: ErrUnavailable}, fate{err: ErrUnavailable})
		if _, err := w.Do(t.Context(), rulestest.Send("ann", "")); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("send = %v, want unavailable", err)
		}
		wantBatches(t, m, 1, 1, 1, 1, 1, 1, 1, 1)
	})
}

// TestWriterOneByOne: a command that the Store does not bear fails alone.
func TestWriterOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(rulestest.World{"r": {"ann"}}), &published{}
		m.takes = time.Millisecond
		m.fate = func(commands []rules.Command) fate {
			for _, c := range commands {
				if c.(rules.Send).Content == "poison" {
					return fate{err: errors.New("does not digest")}
				}
			}
			return fate{}
		}
		w, _ := newTestWriter(t, m, p, patient)
		submit(t, w, rulestest.Send("ann", ""))
		synctest.Wait()
		bad := rulestest.Send("ann", "")
		bad.Content = "poison"
		got := submit(t, w, rulestest.Send("ann", ""), bad, rulestest.Send("ann", ""))
		pass(time.Second)
		wantWords(t, got, "12", "internal", "13")
		wantBatches(t, m, 1, 3, 1, 1, 1)
		if diff := cmp.Diff([]uint64{11, 12, 13}, p.seqs()); diff != "" {
			t.Errorf("published (-want +got):\n%s", diff)
		}
	})
}

// TestWriterOneByOneAfterAnUnknownOutcome: the transactions of one command know what the one of all of them may have written.
func TestWriterOneByOneAfterAnUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann"}})
		m.takes = time.Millisecond
		w, _ := newTestWriter(t, m, &published{}, patient)
		submit(t, w, rulestest.Send("ann", ""))
		synctest.Wait()
		m.will(fate{}, fate{err: ErrUnknown, written: true}, fate{err: errors.New("broken")})
		got := submit(t, w, rulestest.Send("ann", ""), rulestest.Send("ann", ""))
		pass(time.Second)
		wantWords(t, got, "12", "13")
		wantBatches(t, m, 1, 2, 2, 1, 1)
	})
}

// TestWriterAbandoned: a command whose caller has gone is not begun, and one that waited for too long neither.
func TestWriterAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann"}})
		m.takes = time.Second
		cfg := patient
		cfg.BatchMax, cfg.Timeout = 1, 2200*time.Millisecond+commitGrace
		w, _ := newTestWriter(t, m, &published{}, cfg)
		first := submit(t, w, rulestest.Send("ann", ""))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := w.Do(ctx, rulestest.Leave("ann"))
		if fault.KindOf(err) != fault.Timeout {
			t.Errorf("Do = %v, want timeout", err)
		}
		late := submit(t, w, rulestest.Send("ann", ""), rulestest.Send("ann", ""), rulestest.Send("ann", ""))
		pass(10 * time.Second)
		wantWords(t, first, "11")
		wantWords(t, late, "12", "13", "unavailable") // their turns come after 0.5 s, 1.5 s and 2.5 s
		if _, is := m.state.Members[chat.Membership{Room: "r", User: "ann"}]; !is {
			t.Error("the abandoned command was done")
		}
	})
}

// TestWriterFull: what does not fit is refused at once, and what was taken is done.
func TestWriterFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(rulestest.World{"r": {"ann"}})
		m.takes = time.Second
		cfg := patient
		cfg.Queue = 2
		w, _ := newTestWriter(t, m, &published{}, cfg)
		first := submit(t, w, rulestest.Send("ann", ""))
		synctest.Wait()
		rest := submit(t, w, rulestest.Send("ann", ""), rulestest.Send("ann", ""), rulestest.Send("ann", ""))
		var f *fault.Error
		if !errors.As(rest[2].Err, &f) || f.Kind != fault.Unavailable || f.RetryAfter == 0 {
			t.Errorf("Submit into a full lane = %v, want unavailable with a time", rest[2].Err)
		}
		pass(10 * time.Second)
		wantWords(t, append(first, rest...), "11", "12", "13", "unavailable")
	})
}

// TestWriterDrains: what was taken before the end is committed, published and answered; what comes after it is refused.
func TestWriterDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(rulestest.World{"r": {"ann"}}), &published{}
		m.takes = time.Second
		w, stop := newTestWriter(t, m, p, patient)
		first := submit(t, w, rulestest.Send("ann", ""))
		synctest.Wait()
		rest := submit(t, w, rulestest.Send("ann", ""), rulestest.Join("bob"))
		stop()
		wantWords(t, append(first, rest...), "11", "12", "13")
		if len(p.seqs()) != 4 { // and what bob is told
			t.Errorf("published %v, want all", p.seqs())
		}
		wantWords(t, submit(t, w, rulestest.Send("ann", "")), "unavailable")
	})
}

// TestWriterPublishesBeforeItAnswers, so that a sender's next event cannot overtake this one.
func TestWriterPublishesBeforeItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(rulestest.World{"r": {"ann"}}), &published{}
		w, _ := newTestWriter(t, m, p, patient)
		before := 0
		if err := w.Submit(rulestest.Send("ann", ""), func(rules.Outcome) { before = len(p.seqs()) }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if before != 1 {
			t.Errorf("%d events were published before the answer, want 1", before)
		}
	})
}

// TestWriterAnswersInTime: while the Store hangs every command is answered within its time, whether it is being committed, came right after
// the one that is, or comes while others wait.
func TestWriterAnswersInTime(t *testing.T) {
	for _, timeout := range []time.Duration{100 * time.Millisecond, patient.Timeout, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(rulestest.World{"r": {"ann"}})
			m.takes = time.Hour
			cfg := patient
			cfg.Timeout, cfg.BatchMax = timeout, 1
			w, _ := newTestWriter(t, m, &published{}, cfg)
			answered := 0
			for range 40 {
				came := time.Now()
				err := w.Submit(rulestest.Send("ann", ""), func(o rules.Outcome) {
					answered++
					if took := time.Since(came); o.Err == nil || took > timeout {
						t.Errorf("of %v: answered by %v after %v", timeout, o.Err, took)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				pass(timeout / 13)
			}
			pass(2 * timeout)
			if answered != 40 {
				t.Errorf("of %v: %d of 40 commands were answered", timeout, answered)
			}
		})
	}
}
