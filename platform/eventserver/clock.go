package eventserver

import (
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// A request may be on its way for longer than its gateway waits, in NATS or where the network stands still, and nobody may do then what
// the user has given up, and perhaps undone, since. How long it was on its way no message can say, because the clocks of two machines
// differ. So this replica tells gateways what its own clock shows, each request gives back the last of that which its gateway had heard,
// and the difference to the clock by now is at least the age of the request:
//
//	replica                          gateway
//	  clock 7.0 ──── Catalog ────────▶ heard 7.0
//	                                     │ sends an event, and waits for 4.3 s
//	  clock 7.4 ◀─── heard 7.0, 4.3 s ───┘ ok until 11.3, whenever it arrives: the gateway waits until then at least

// clock is what this replica tells of the time.
type clock struct {
	replica uint64 // who tells it; never 0
	began   time.Time
}

func newClock() clock {
	return clock{replica: max(rand.Uint64(), 1), began: time.Now()} //nolint:gosec // need not be secret: it keeps replicas apart
}

// shows is the milliseconds since the clock began, from 1 on.
func (c *clock) shows() uint64 { return uint64(time.Since(c.began).Milliseconds()) + 1 } //nolint:gosec // not negative

// until is when a request is given up, or earlier, from what its gateway has heard and for how long it waits. It is zero when the gateway
// does not say for how long, and when this replica began where it has not heard of this replica: then nobody knows how old the request is.
func (c *clock) until(heard []uint64, patience uint32) time.Time {
	if patience == 0 {
		return time.Time{}
	}
	last := uint64(0)
	for i := 0; i+1 < len(heard); i += 2 {
		if heard[i] == c.replica {
			last = max(last, heard[i+1])
		}
	}
	if last == 0 {
		return c.began
	}
	return c.began.Add(time.Duration(last-1)*time.Millisecond + time.Duration(patience)*time.Millisecond) //nolint:gosec // a clock of ours
}

// read decodes a request, and gives until when its gateway waits for it; zero = it does not say. What it has heard goes into memory that
// is used again.
func (s *Server) read(raw []byte, event *eventv1.ClientEvent) (until time.Time, err error) {
	event.Heard = s.heard[:0]
	err = proto.UnmarshalOptions{Merge: true}.Unmarshal(raw, event)
	until = s.clock.until(event.GetHeard(), event.GetPatienceMs())
	s.heard, event.Heard = event.GetHeard(), nil
	return until, err
}

// grace is for how long a request is waited for when it may not be begun any more, because another attempt follows.
func grace(event *eventv1.ClientEvent) time.Duration {
	begin, patience := event.GetBeginMs(), event.GetPatienceMs()
	if begin == 0 || begin > patience {
		return 0
	}
	return time.Duration(patience-begin) * time.Millisecond
}
