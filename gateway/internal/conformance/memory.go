package conformance

import (
	"strconv"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
)

const (
	// keepEvents is how many events of one socket can be recovered.
	keepEvents = 100
	// keepTime is how long a socket that left can come back.
	keepTime = 2 * time.Minute
)

// memory is what can be recovered: the sockets that are here, and for keepTime those that left. Gateways keep none of this
// in themselves; one process that runs tests may.
type memory struct {
	mu      sync.Mutex // guards what follows, and the records' fields
	records map[string]*record
	offset  int64
}

// record is one socket's.
type record struct {
	owner     *memory
	pid       string
	id        string
	namespace string
	events    []missed        // the last ones, oldest first
	socket    *session.Socket // nil once it left
	left      time.Time
}

// missed is an event that was emitted.
type missed struct {
	offset      string
	name        string
	args        []byte
	attachments [][]byte
}

func newMemory() *memory { return &memory{records: make(map[string]*record)} }

// nextOffset gives the offset of the next event, unique in this process.
func (m *memory) nextOffset() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offset++
	return strconv.FormatInt(m.offset, 36)
}

// enter makes the record of a new socket.
func (m *memory) enter(pid string, s *session.Socket) *record {
	r := &record{owner: m, pid: pid, id: s.ID, namespace: s.Namespace, socket: s}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[pid] = r
	return r
}

// occupy notes the socket of a record, and gives the one that had it and is still here.
func (m *memory) occupy(r *record, s *session.Socket) (before *session.Socket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, r.socket = r.socket, s
	return before
}

// leave starts the time in which a socket can come back, unless it did already, and forgets those whose time is over.
func (m *memory) leave(r *record, s *session.Socket, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.socket == s {
		r.socket, r.left = nil, now
	}
	for pid, other := range m.records {
		if other.socket == nil && now.Sub(other.left) > keepTime {
			delete(m.records, pid)
		}
	}
}

// forget ends the recovery of a socket.
func (m *memory) forget(r *record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, r.pid)
}

// resume finds the socket that comes back, with the events after offset. It is none without an offset, and when too many
// events came since.
func (m *memory) resume(pid, offset, namespace string) (*record, []missed) {
	if pid == "" || offset == "" {
		return nil, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[pid]
	if r == nil || r.namespace != namespace {
		return nil, nil
	}
	for i, e := range r.events {
		if e.offset == offset {
			return r, append([]missed(nil), r.events[i+1:]...)
		}
	}
	return nil, nil
}

// keep notes an event for recovery.
func (r *record) keep(e missed) {
	r.owner.mu.Lock()
	defer r.owner.mu.Unlock()
	if len(r.events) == keepEvents {
		r.events = append(r.events[:0], r.events[1:]...)
	}
	r.events = append(r.events, e)
}
