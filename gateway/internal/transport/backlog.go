package transport

import "encoding/binary"

// Backlog is the send queue of a Conn whose frames go out over the WebSocket of another gateway. Its Conn guards it, and says with
// Stuck whether that one takes more at present.
type Backlog struct {
	queue  sendQueue
	frames []byte
	begun  int // bytes at the front of frames that end a frame whose beginning has gone out
}

// NewBacklog makes one with the bound of the send queue of any conn.
func NewBacklog(bound int) Backlog { return Backlog{queue: sendQueue{bound: bound}} }

// Queue queues a message, with a suffix unless that is empty. tooSlow tells that it did not fit: the Conn is to be closed.
func (b *Backlog) Queue(m *Message, suffix []byte) (accepted, tooSlow bool) {
	size := len(m.frames)
	if len(suffix) > 0 {
		size = m.suffixedLen(len(suffix))
	}
	if verdict := b.queue.admit(size, m.volatile, m.answer); verdict != taken {
		return false, verdict == slow
	}
	before := len(b.frames)
	if len(suffix) > 0 {
		b.frames = m.AppendSuffixed(b.frames, suffix)
	} else {
		b.frames = append(b.frames, m.frames...)
	}
	b.queue.appended(len(b.frames) - before)
	return true, false
}

// Stuck tells that what is queued does not go out at present; only then does it show that the client is slow.
func (b *Backlog) Stuck(stuck bool) { b.queue.stuck = stuck }

// Len is how many bytes are queued.
func (b *Backlog) Len() int { return len(b.frames) }

// Next removes the frames that go out next: as many as most bytes hold. more tells that they end in the middle of a frame, which
// happens to those alone that are longer.
func (b *Backlog) Next(most int) (frames []byte, more bool) {
	end := b.begun
	for end < len(b.frames) {
		next := end + frameLength(b.frames[end:])
		if next > most {
			break
		}
		end = next
	}
	switch {
	case b.begun > most:
		end, b.begun = most, b.begun-most
	case end == 0 && len(b.frames) > 0:
		end, b.begun = most, frameLength(b.frames)-most
	default:
		b.begun = 0
	}
	frames = b.frames[:end]
	if b.frames = b.frames[end:]; len(b.frames) == 0 {
		b.frames = nil
	}
	b.queue.wrote(end)
	return frames, b.begun > 0
}

// frameLength is the length of the first of whole frames as servers write them: without a mask.
func frameLength(frames []byte) int {
	switch n := frames[1] & 0x7f; n {
	case 126:
		return 4 + int(binary.BigEndian.Uint16(frames[2:]))
	case 127:
		return maxHeader + int(binary.BigEndian.Uint64(frames[2:])) //nolint:gosec // it was an int
	default:
		return 2 + int(n)
	}
}
