package transport

import (
	"container/list"
	"sync"
)

// Strangers are those who hold a connection and have not shown who they are, while it is the gateway that waits for them. Where there is
// no room left, who comes takes the place of the one that has been waited for the longest. So strangers, however many, and whatever
// their addresses, keep nobody out who says a moment later who they are, and whoever has said it keeps their place. A nil Strangers is empty.
type Strangers struct {
	mu      sync.Mutex // guards waiting and the places in it
	waiting list.List  // of Stranger, the first to go first
}

// Stranger is one of them.
type Stranger interface {
	// Displace ends the connection, unless the stranger is none any more; then it reports false.
	Displace() bool
}

// Place is a stranger's place among the Strangers. The zero value is none.
type Place struct{ element *list.Element }

// Wait notes that the gateway waits for a stranger. One that has tried in vain is the first to go: it would hide those who came before
// it otherwise.
func (s *Strangers) Wait(who Stranger, p *Place, inVain bool) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.element != nil:
	case inVain:
		p.element = s.waiting.PushFront(who)
	default:
		p.element = s.waiting.PushBack(who)
	}
}

// Leave notes that the gateway does not wait for a stranger, or not any more.
func (s *Strangers) Leave(p *Place) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.element != nil {
		s.waiting.Remove(p.element) // which may have been done, by Displace
		p.element = nil
	}
}

// Displace makes room: it ends one stranger's connection, or reports that there is none.
func (s *Strangers) Displace() bool {
	if s == nil {
		return false
	}
	for {
		s.mu.Lock()
		first := s.waiting.Front()
		if first == nil {
			s.mu.Unlock()
			return false
		}
		s.waiting.Remove(first)
		s.mu.Unlock()
		if first.Value.(Stranger).Displace() {
			return true
		}
	}
}
