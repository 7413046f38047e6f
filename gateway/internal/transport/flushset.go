package transport

// FlushSet collects the conns that have something queued, so that each is flushed once after a batch of events.
type FlushSet struct {
	conns []Conn
	due   []Conn // those of conns that cannot wait for the end of the batch
}

// Add notes a conn.
func (s *FlushSet) Add(c Conn) {
	if c.FlushDue() && (len(s.due) == 0 || s.due[len(s.due)-1] != c) {
		s.due = append(s.due, c)
	}
	if n := len(s.conns); n > 0 && s.conns[n-1] == c {
		return
	}
	s.conns = append(s.conns, c)
}

// FlushDue writes what the conns have queued that cannot wait for the end of the batch. No lock may be held.
func (s *FlushSet) FlushDue() { s.due = flushAll(s.due) }

// Flush writes what the noted conns have queued. No lock may be held.
func (s *FlushSet) Flush() {
	s.FlushDue()
	s.conns = flushAll(s.conns)
}

// flushAll flushes conns and gives their slice back, empty.
func flushAll(conns []Conn) []Conn {
	for _, c := range conns {
		c.Flush()
	}
	clear(conns)
	return conns[:0]
}
