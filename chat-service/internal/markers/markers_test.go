package markers_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/markers"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// TestTeller: the first is told at once, others together at the end of the interval, what fails again, and nothing is left when it is closed.
func TestTeller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var told []string
		var refuse, fail error
		teller := markers.New(func(c rules.Command, done func(rules.Outcome)) error {
			command := c.(rules.TellMarkers) //nolint:forcetypeassert // there is no other
			told = append(told, fmt.Sprint(time.Since(start).Milliseconds(), " ", command.Users[0], " in ", command.Room))
			done(rules.Outcome{Err: fail})
			return refuse
		})
		tell := func(user chat.UserID, times int) {
			for range times {
				teller.Tell(chat.Membership{Room: "r", User: user})
			}
		}
		pass := func(intervals int) {
			time.Sleep(time.Duration(intervals) * markers.Interval)
			synctest.Wait()
		}
		want := func(what string, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, told); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
			told = nil
		}
		tell("ann", 5)
		tell("bob", 1)
		want("at once", "0 ann in r", "0 bob in r")
		pass(3)
		want("together", "500 ann in r")
		fail = fault.New(fault.Unavailable, "away")
		tell("ann", 1)
		pass(1)
		fail = nil
		pass(2)
		want("until it is done", "1500 ann in r", "2000 ann in r", "2500 ann in r")
		refuse = fault.New(fault.Invalid, "never")
		tell("ann", 1)
		pass(2)
		want("what is refused for good", "3000 ann in r")
		refuse = nil
		tell("ann", 2)
		teller.Close()
		tell("ann", 2)
		want("in the end", "4000 ann in r", "4000 ann in r", "4000 ann in r", "4000 ann in r")
		pass(3)
		want("after the end")
	})
}
