package markers_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/markers"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/proto/fault"
)

// scene notes what a Teller does, and when.
type scene struct {
	t      *testing.T
	teller *markers.Teller
	start  time.Time

	mu      sync.Mutex // guards what follows
	told    []string
	refuse  error // what submit returns
	outcome error
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, start: time.Now()}
	s.teller = markers.New(func(c rules.Command, done func(rules.Outcome)) error {
		command := c.(rules.TellMarkers) //nolint:forcetypeassert // there is no other
		users := fmt.Sprint(command.Users)
		if n := len(command.Users); n > 3 {
			users = fmt.Sprint(n, " users")
		}
		s.note(users, " in ", command.Room)
		s.mu.Lock()
		refuse, outcome := s.refuse, s.outcome
		s.mu.Unlock()
		if refuse == nil {
			done(rules.Outcome{Err: outcome})
		}
		return refuse
	}, func(e chat.RoomEvent) {
		read := e.Fact.(chat.MessageRead) //nolint:forcetypeassert // there is no other
		s.note(read.User, " has read ", read.Seq, " but ", e.ExceptSocket, ", on time: ", !e.CausedAt.IsZero())
	})
	return s
}

// answers sets what submit does from now on.
func (s *scene) answers(refuse, outcome error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse, s.outcome = refuse, outcome
}

func (s *scene) note(what ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprint(append([]any{time.Since(s.start).Milliseconds(), " "}, what...)...))
}

func (s *scene) tell(user chat.UserID, seqs ...uint64) {
	for _, seq := range seqs {
		m := markers.Moved{User: user, Except: "s1", CausedAt: time.Now()}
		if seq > 0 {
			m.Shown = chat.NewMessageID(time.Now(), seq, 0)
		}
		s.teller.Tell("r", m)
	}
}

func (s *scene) pass(intervals int) {
	time.Sleep(time.Duration(intervals) * markers.Interval)
	synctest.Wait()
}

func (s *scene) want(what string, want ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(want, s.told); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
	s.told = nil
}

// TestTeller: the first is told at once, the others of the room together at the end of the interval, each user once and with the furthest that it has
// read.
func TestTeller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.tell("ann", 1, 2, 4, 3, 0)
		s.tell("bob", 0, 0)
		s.teller.Tell("other", markers.Moved{User: "ann"})
		s.want("at once", "0 ann has read 1 but s1, on time: true", "0 [ann] in r", "0 [ann] in other")
		s.pass(3)
		s.want("together", "500 ann has read 4 but s1, on time: false", "500 [ann bob] in r")
		for i := range 1200 {
			s.tell(chat.UserID(fmt.Sprint("user", i)), 0)
		}
		s.pass(1)
		s.want("many", "1500 [user0] in r", "2000 500 users in r", "2000 500 users in r", "2000 199 users in r")
	})
}

// TestTellerFails: what could not be told is told later, what is refused for good is not, and nothing is left when the Teller is closed.
func TestTellerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.answers(nil, fault.New(fault.Unavailable, "away"))
		s.tell("ann", 1)
		s.pass(1)
		s.answers(fault.New(fault.Timeout, "away"), nil)
		s.pass(1)
		s.answers(nil, nil)
		s.pass(3)
		s.want("until it is done", "0 ann has read 1 but s1, on time: true", "0 [ann] in r", "500 [ann] in r", "1000 [ann] in r", "1500 [ann] in r")
		s.answers(fault.New(fault.Invalid, "never"), nil)
		s.tell("ann", 0)
		s.pass(2)
		s.want("what is refused for good", "2500 [ann] in r")
		s.answers(nil, nil)
		s.tell("ann", 0, 2)
		s.teller.Close()
		s.want("in the end", "3500 [ann] in r", "3500 ann has read 2 but s1, on time: false", "3500 [ann] in r")
		s.answers(nil, fault.New(fault.Unavailable, "away"))
		s.tell("ann", 0)
		s.pass(3)
		s.want("after the end", "3500 [ann] in r")
	})
}

// TestCloseWaits: when Close has returned nobody is being told any more.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan struct{})
		teller := markers.New(func(c rules.Command, done func(rules.Outcome)) error {
			if len(c.(rules.TellMarkers).Users) == 2 { //nolint:forcetypeassert // there is no other
				<-told
			}
			done(rules.Outcome{})
			return nil
		}, func(chat.RoomEvent) {})
		for _, user := range []chat.UserID{"ann", "bob", "cid"} {
			teller.Tell("r", markers.Moved{User: user})
		}
		time.Sleep(markers.Interval)
		closed := false
		go func() { teller.Close(); closed = true }()
		synctest.Wait()
		if closed {
			t.Error("Close returned while bob and cid were being told")
		}
		close(told)
		synctest.Wait()
		if !closed {
			t.Error("Close did not return")
		}
	})
}
