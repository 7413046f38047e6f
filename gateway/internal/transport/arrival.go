package transport

import "time"

// minRate is how fast bytes have to come, or be taken, at least: bytes a second.
const minRate = 1 << 10

// ArrivalDeadline is the deadline of something that arrives in pieces: a message, a body. It moves on by a second for each KiB that came, and
// is never further away than the patience. So an honest slow link has the time that it needs, silence ends as soon as it ever did, and
// who sends a byte now and then gains nothing.
type ArrivalDeadline struct {
	patience time.Duration
	deadline time.Time
}

// NewArrivalDeadline starts a deadline.
func NewArrivalDeadline(patience time.Duration, now time.Time) ArrivalDeadline {
	return ArrivalDeadline{patience: patience, deadline: now.Add(patience)}
}

// Deadline is when the next bytes have to be there.
func (p *ArrivalDeadline) Deadline() time.Time { return p.deadline }

// Moved counts bytes that came.
func (p *ArrivalDeadline) Moved(bytes int, now time.Time) {
	p.deadline = p.deadline.Add(TimeFor(bytes))
	if latest := now.Add(p.patience); p.deadline.After(latest) {
		p.deadline = latest
	}
}

// TimeFor is how long so many bytes may take.
func TimeFor(bytes int) time.Duration { return time.Duration(bytes) * time.Second / minRate }
