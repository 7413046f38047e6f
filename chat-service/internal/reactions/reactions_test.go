package reactions_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/reactions"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// TestFolder: 500 reactions within a second are a few commands, each is answered with its own outcome, and none waits for longer than
// the interval.
func TestFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // a timer's goroutine submits as well
		var commands []rules.Command
		f := reactions.New(func(c rules.Command, done func(rules.Outcome)) error {
			mu.Lock()
			defer mu.Unlock()
			commands = append(commands, c)
			switch c := c.(type) {
			case rules.React:
				done(rules.Outcome{Position: rules.Position{Seq: 1}, CreatedAt: time.Now(), N: number(c)})
			case rules.Reactions:
				parts := make([]rules.Outcome, len(c.Each))
				for i, r := range c.Each {
					parts[i].N = number(r)
				}
				done(rules.Outcome{Details: &rules.Details{Parts: parts}})
			}
			return nil
		})
		answered := 0
		for i := range uint64(500) {
			asked := time.Now()
			err := f.React(rules.React{Origin: rules.Origin{Room: "r"}, Key: fmt.Sprint(i)}, func(o rules.Outcome) {
				answered++
				if waited := time.Since(asked); o.N != i || waited > reactions.Interval {
					t.Errorf("reaction %d was answered as %d after %v", i, o.N, waited)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(2 * reactions.Interval)
		synctest.Wait()
		mu.Lock()
		if answered != 500 || len(commands) > 8 {
			t.Errorf("%d answers and %d commands, want 500 and 8 at most", answered, len(commands))
		}
		if _, alone := commands[0].(rules.React); !alone {
			t.Error("the first one waits for others")
		}
		before := len(commands)
		mu.Unlock()
		_ = f.React(rules.React{Origin: rules.Origin{Room: "r"}, Key: "1"}, func(rules.Outcome) {})
		mu.Lock()
		defer mu.Unlock()
		if len(commands) != before+1 {
			t.Error("in a room that is quiet again the first one waits")
		}
	})
}

func number(r rules.React) (n uint64) {
	_, _ = fmt.Sscan(r.Key, &n)
	return n
}

// TestClose: what waits is handed over, what comes later does not wait, and what is not taken is answered so.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := false
		f := reactions.New(func(c rules.Command, done func(rules.Outcome)) error {
			if full {
				return fault.New(fault.Unavailable, "full")
			}
			if all, ok := c.(rules.Reactions); ok {
				done(rules.Outcome{Details: &rules.Details{Parts: make([]rules.Outcome, len(all.Each))}})
			} else {
				done(rules.Outcome{})
			}
			return nil
		})
		var said []string
		react := func() {
			if err := f.React(rules.React{Origin: rules.Origin{Room: "r"}}, func(o rules.Outcome) { said = append(said, fmt.Sprint(fault.KindOf(o.Err) == fault.Unavailable)) }); err != nil {
				said = append(said, "refused")
			}
		}
		react()
		react()
		full = true
		f.Close()
		react()
		if got := fmt.Sprint(said); got != "[false true refused]" {
			t.Errorf("answers %s", got)
		}
	})
}

// TestCloseWaits: when Close has returned nothing is being submitted any more.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := make(chan struct{})
		f := reactions.New(func(c rules.Command, _ func(rules.Outcome)) error {
			if _, together := c.(rules.Reactions); together {
				<-taken
			}
			return nil
		})
		for range 2 {
			_ = f.React(rules.React{Origin: rules.Origin{Room: "r"}}, func(rules.Outcome) {})
		}
		time.Sleep(reactions.Interval)
		closed := false
		go func() { f.Close(); closed = true }()
		synctest.Wait()
		if closed {
			t.Error("Close returned while reactions were being submitted")
		}
		close(taken)
		synctest.Wait()
		if !closed {
			t.Error("Close did not return")
		}
	})
}
