package sioclient

// Recovery is what a client remembers of its session, to be given it back with what it missed. Its owner guards it.
type Recovery struct {
	PID    string // empty: there is nothing to come back to
	Offset string // of the last event
}

// Received notes the offset of an event.
func (r *Recovery) Received(m Message) {
	if m.Offset != "" && r.PID != "" {
		r.Offset = m.Offset
	}
}

// Connected notes the session of a new connection, and tells whether it is the one before.
func (r *Recovery) Connected(w Welcome) (recovered bool) {
	recovered = w.PID != "" && w.PID == r.PID
	r.PID = w.PID
	return recovered
}

// Auth is what asks for the session.
func (r *Recovery) Auth(token string) Auth {
	if r.PID == "" {
		return Auth{Token: token}
	}
	return Auth{Token: token, PID: r.PID, Offset: r.Offset}
}

// Acks are the emits of a client that await an ack. Ids go on from one connection to the next, as the official client's. Its
// owner guards it. The zero value is ready.
type Acks[C any] struct {
	next    int64
	waiting map[int64]C
}

// Next is the id of the next emit.
func (a *Acks[C]) Next() int64 {
	a.next++
	return a.next - 1
}

// Await keeps what belongs to an id until Remove or Clear.
func (a *Acks[C]) Await(id int64, c C) {
	if a.waiting == nil {
		a.waiting = make(map[int64]C)
	}
	a.waiting[id] = c
}

// Remove gives what belongs to an id, and forgets it. ok is false where nobody waits any more.
func (a *Acks[C]) Remove(id int64) (c C, ok bool) {
	c, ok = a.waiting[id]
	delete(a.waiting, id)
	return c, ok
}

// Len is how many wait.
func (a *Acks[C]) Len() int { return len(a.waiting) }

// Clear gives all that wait, and forgets them: their connection has ended.
func (a *Acks[C]) Clear() []C {
	all := make([]C, 0, len(a.waiting))
	for _, c := range a.waiting {
		all = append(all, c)
	}
	clear(a.waiting)
	return all
}
