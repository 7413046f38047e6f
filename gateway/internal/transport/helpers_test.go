package transport

import (
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// session is a Receiver that notes what comes.
type session struct {
	mu       sync.Mutex
	conn     Conn
	received []string
	closed   []Reason
	ended    chan struct{}
	on       func(c Conn, data []byte) // nil: nothing
	batchEnd func()                    // nil: nothing
}

func (s *session) BatchEnd() {
	s.mu.Lock()
	batchEnd := s.batchEnd
	s.mu.Unlock()
	if batchEnd != nil {
		batchEnd()
	}
}

func (s *session) Receive(data []byte, _ bool) {
	s.mu.Lock()
	if len(s.closed) > 0 {
		s.received = append(s.received, "AFTER CLOSED")
	}
	s.received = append(s.received, string(data))
	s.mu.Unlock()
	if s.on != nil {
		s.on(s.conn, data)
	}
}

func (s *session) Closed(reason Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = append(s.closed, reason)
	if len(s.closed) == 1 {
		close(s.ended)
	}
}

func (s *session) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.received...)
}

// reason waits for the end and gives why; more than one end is an error.
func (s *session) reason(t *testing.T) Reason {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("Closed was not called")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.closed) != 1 {
		t.Fatalf("Closed was called with %v, want once", s.closed)
	}
	return s.closed[0]
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}
