package transport

import "sync/atomic"

// Unfinished counts the bytes of messages that have begun to arrive and are kept until they are whole, of all conns: a conn has a
// bound, but there are many. Of the whole bound half is left to those who have shown who they are, so that strangers cannot
// take it from them.
type Unfinished struct {
	bound     int64
	strangers atomic.Int64
	all       atomic.Int64 // strangers included
}

// NewUnfinished bounds the bytes; 0 sets no bound.
func NewUnfinished(bound int64) *Unfinished { return &Unfinished{bound: bound} }

// Bytes tells how many bytes there are.
func (u *Unfinished) Bytes() int64 { return u.all.Load() }

// Share is what one conn, or one session, has of the Unfinished. It belongs to whoever reads.
type Share struct {
	bytes    int32
	stranger bool // they are counted as a stranger's
}

// Set changes the share, and reports false when there is no room for it: then it is what it was. Without an Unfinished there is
// always room.
func (s *Share) Set(u *Unfinished, bytes int, stranger bool) bool {
	if int(s.bytes) == bytes && (bytes == 0 || s.stranger == stranger) {
		return true
	}
	if u == nil {
		s.bytes = int32(bytes) //nolint:gosec // within the limit of a message
		return true
	}
	more := int64(bytes) - int64(s.bytes)
	all := u.all.Add(more)
	strangers := int64(0)
	if stranger {
		strangers = u.strangers.Add(int64(bytes))
	}
	if more > 0 && u.bound > 0 && (all > u.bound || stranger && strangers > u.bound/2) {
		u.all.Add(-more)
		if stranger {
			u.strangers.Add(-int64(bytes))
		}
		return false
	}
	if s.stranger {
		u.strangers.Add(-int64(s.bytes))
	}
	s.bytes, s.stranger = int32(bytes), stranger //nolint:gosec // within the limit of a message
	return true
}
