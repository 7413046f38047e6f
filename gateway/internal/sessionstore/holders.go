package sessionstore

import (
	"slices"
	"sync"

	"github.com/starling-chat/starling/gateway/internal/table"
)

// Holders are the sockets of this gateway that can be recovered elsewhere, by their pid: whoever comes back there has this gateway
// end the old connection.
type Holders[S any] struct {
	mu       sync.Mutex              // guards what follows
	alive    *table.Table[string, S] // who is here
	adopting map[string][]*S         // who is about to be
}

// NewHolders makes an empty set of sockets whose pid never changes.
func NewHolders[S any](pid func(*S) string) *Holders[S] {
	return &Holders[S]{alive: table.New(pid), adopting: make(map[string][]*S)}
}

// Add notes a socket unless it does not live any more, which it reports. lives is called with the lock held, so that a socket that
// ends afterwards is removed afterwards.
func (h *Holders[S]) Add(s *S, lives func() bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !lives() {
		return false
	}
	h.alive.Put(s)
	return true
}

// Remove forgets a socket that has ended; another one may have its pid by now.
func (h *Holders[S]) Remove(pid string, s *S) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.alive.Get(pid) == s {
		h.alive.Remove(pid)
	}
}

// BeginAdoption notes a socket before the bus knows that this gateway has it: from then on another one may ask to let it go.
func (h *Holders[S]) BeginAdoption(pid string, s *S) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.adopting[pid] = append(h.adopting[pid], s)
}

// EndAdoption notes that a socket is adopted, or that it is not.
func (h *Holders[S]) EndAdoption(pid string, s *S) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rest := slices.DeleteFunc(h.adopting[pid], func(other *S) bool { return other == s })
	if len(rest) == 0 {
		delete(h.adopting, pid)
		return
	}
	h.adopting[pid] = rest
}

// Of gives everybody who has a pid, or is about to.
func (h *Holders[S]) Of(pid string) []*S {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Clone(h.adopting[pid])
	if s := h.alive.Get(pid); s != nil {
		all = append(all, s)
	}
	return all
}
