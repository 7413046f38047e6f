package transport

import "time"

// inbound is what the reader keeps of a message that has begun.
type inbound struct {
	parser    parser
	bounded   bool          // reading has a deadline
	counted   int32         // bytes of the message that has begun, as far as they have moved the deadline on
	boundedAt uint64        // the parser's units when that message began
	deadline  time.Duration // of it, since the server's birth
	share     Share         // of what all conns keep of messages that have begun
}

// anew stands for boundedAt when a message that has begun gets its whole time again.
const anew = ^uint64(0)

// boundFrame sets the deadline of a message that has begun, moves it on with the message's bytes, and lifts it when there is none.
// Only what the message grows by counts: empty fragments, and control frames in between, do not prolong it.
func (c *WebSocket) boundFrame() {
	in := c.in
	held := int32(in.parser.held()) //nolint:gosec // within the limit of a message
	arrival := ArrivalDeadline{patience: c.server.limits.FrameTimeout, deadline: c.server.born.Add(in.deadline)}
	begun := !in.bounded || in.boundedAt != in.parser.units
	switch {
	case !in.parser.incomplete():
		if in.bounded {
			in.bounded = false
			c.marks.clear(markArriving)
			c.setReadDeadline(time.Time{})
		}
		return
	case begun:
		arrival = NewArrivalDeadline(arrival.patience, time.Now())
	case held > in.counted:
		arrival.Moved(int(held-in.counted), time.Now())
	default:
		return
	}
	if !in.bounded {
		c.marks.set(markArriving)
	}
	if watcher, ok := c.owner.(ArrivalWatcher); ok && begun {
		watcher.MessageBegun()
	}
	in.bounded, in.boundedAt, in.counted, in.deadline = true, in.parser.units, held, arrival.deadline.Sub(c.server.born)
	c.setReadDeadline(arrival.deadline)
}

// setReadDeadline bounds the next reads, unless the conn is closing: then the deadline that woke the reader stands.
func (c *WebSocket) setReadDeadline(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.driver.boundReadLocked(at)
	}
}

// count counts what is kept of a message that has begun.
func (c *WebSocket) count(held int) error {
	if held == 0 && c.in.share.bytes == 0 {
		return nil
	}
	if !c.in.share.Set(c.server.limits.Unfinished, held, !c.marks.has(markKnown)) {
		return &closeError{CodeTryAgainLater, ReasonOverload, "too much has begun to arrive"}
	}
	return nil
}
