package quota

import (
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

// Socket is what one socket has sent. The zero value has sent nothing. It has no lock: its owner guards it.
type Socket struct {
	allowed transport.Allowance // of events
	refused transport.Allowance // of events over the rate
}

// FloodBursts is how many bursts a socket may send over its rate before it is closed. They come back with the rate, so that only one
// that sends more than twice its rate for long is.
const FloodBursts = 10

// Take counts an event of a socket that may send so many a second, and burst at once; a rate of 0 sets no limit. ok is false when it has
// sent too many; wait tells after which time it may try again.
func (s *Socket) Take(rate float64, burst int, now time.Time) (wait time.Duration, ok bool) {
	if rate <= 0 || s.allowed.Take(1, rate, float64(burst), now) {
		return 0, true
	}
	return s.allowed.Wait(1, rate, float64(burst)), false
}

// Refuse counts an event that was refused, and tells whether the socket has gone on for so long that it is to be closed: each refusal is
// work, too.
func (s *Socket) Refuse(rate float64, burst int, now time.Time) (flood bool) {
	return rate > 0 && !s.refused.Take(1, rate, FloodBursts*float64(burst), now)
}

// Rested tells whether everything that the socket has sent is so long ago that a new Socket is as good.
func (s *Socket) Rested(rate float64, now time.Time) bool {
	return s.allowed.Full(rate, now) && s.refused.Full(rate, now)
}
