package sequence

import (
	"slices"
	"time"
)

// Event is one room event, ready to be emitted.
type Event struct {
	RoomID string
	// Seq is the room's sequence; 0 for ephemeral events, which are not sequenced.
	Seq uint64
	// Name is the Socket.IO event; "" when there is nothing to emit.
	Name string
	// Args is the JSON array of the arguments after the name.
	Args        []byte
	Attachments [][]byte
	// ExceptSocket does not get the event.
	ExceptSocket string
	// ExceptUser is a user none of whose sockets gets the event.
	ExceptUser string
	// EvictUser leaves the room with the event.
	EvictUser string
	// CausedAt is when the client event behind it was read; zero if there was none.
	CausedAt time.Time
}

// MaxHeld bounds how many early events a room holds back; what is dropped beyond it is fetched again by the repair.
const MaxHeld = 1024

// Sequencer passes a room's durable events on in sequence.
//
//	          Offer(9)        Offer(7)
//	last = 6 ───────► held 9 ─────────► 7 goes out, last = 7, gap 8..8 ──Offer(8)──► 8, 9 go out
//
// Until Start has told where the sequence stands, everything is held.
type Sequencer struct {
	last    uint64
	started bool
	held    []Event // by Seq, without repeats, all above last once started
}

// Started tells whether the sequencer knows where the room stands, and the last sequence that went out.
func (s *Sequencer) Started() (last uint64, started bool) { return s.last, s.started }

// Start sets the sequence from which events are passed on; it does nothing when started before.
func (s *Sequencer) Start(head uint64, pass func(Event)) {
	if s.started {
		return
	}
	s.last, s.started = head, true
	s.held = slices.DeleteFunc(s.held, func(e Event) bool { return e.Seq <= head })
	s.release(pass)
}

// Offer takes an event that came and passes on what is now in sequence.
func (s *Sequencer) Offer(e Event, pass func(Event)) {
	switch {
	case e.Seq == 0:
		pass(e)
	case !s.started:
		s.hold(e)
	case e.Seq <= s.last: // a repeat
	case e.Seq == s.last+1:
		s.last = e.Seq
		pass(e)
		s.release(pass)
	default:
		s.hold(e)
	}
}

// Gap tells which sequences are missing below the events that are held: after < missing ≤ upTo.
func (s *Sequencer) Gap() (after, upTo uint64, ok bool) {
	if !s.started || len(s.held) == 0 {
		return 0, 0, false
	}
	return s.last, s.held[0].Seq - 1, true
}

// Held gives the events that came early, in sequence; they must not be changed.
func (s *Sequencer) Held() []Event { return s.held }

func (s *Sequencer) hold(e Event) {
	i, found := slices.BinarySearchFunc(s.held, e.Seq, func(h Event, seq uint64) int {
		switch {
		case h.Seq < seq:
			return -1
		case h.Seq > seq:
			return 1
		}
		return 0
	})
	if found {
		return
	}
	if len(s.held) >= MaxHeld {
		if i == len(s.held) {
			return
		}
		s.held = s.held[:len(s.held)-1] // the newest is the cheapest to fetch again
	}
	s.held = slices.Insert(s.held, i, e)
}

func (s *Sequencer) release(pass func(Event)) {
	n := 0
	for n < len(s.held) && s.held[n].Seq == s.last+1 {
		s.last = s.held[n].Seq
		pass(s.held[n])
		n++
	}
	if n > 0 {
		s.held = slices.Delete(s.held, 0, n)
	}
	if len(s.held) == 0 {
		s.held = nil
	}
}
