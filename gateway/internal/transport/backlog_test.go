package transport

import (
	"bytes"
	"strings"
	"testing"
)

// TestBacklogCutsBetweenFrames: what goes out at once is whole frames, but for those that are longer; together it is what was queued.
func TestBacklogCutsBetweenFrames(t *testing.T) {
	var queued []byte
	b := NewBacklog(1 << 20)
	for i, size := range []int{1, 124, 125, 126, 5000, 65_534, 65_535, 65_536, 200_000, 3, 3, 40_000} {
		bld := NewBuilder(size)
		m := bld.Message(append(bld.Buffer(), strings.Repeat("t", size)...), [][]byte{bytes.Repeat([]byte{9}, i)})
		suffix := []byte(nil)
		if i%3 == 0 {
			suffix = []byte("end")
		}
		if accepted, slow := b.Queue(m, suffix); !accepted || slow {
			t.Fatalf("Queue = %v, %v, want it accepted", accepted, slow)
		}
		if suffix != nil {
			queued = m.AppendSuffixed(queued, suffix)
		} else {
			queued = append(queued, m.Frames()...)
		}
	}
	if b.Len() != len(queued) {
		t.Errorf("Len = %d, want %d", b.Len(), len(queued))
	}
	boundary := map[int]bool{0: true}
	for at := 0; at < len(queued); {
		at += frameLength(queued[at:])
		boundary[at] = true
	}
	const most = 60_000
	var got []byte
	for b.Len() > 0 {
		frames, more := b.Next(most)
		started := boundary[len(got)]
		got = append(got, frames...)
		switch {
		case len(frames) == 0 || len(frames) > most:
			t.Fatalf("Next = %d bytes, want up to %d", len(frames), most)
		case more == boundary[len(got)]:
			t.Errorf("after %d bytes more = %v, and a frame ends there: %v", len(got), more, boundary[len(got)])
		case more && started && len(frames) != most:
			t.Errorf("a frame is cut after %d bytes, want %d", len(frames), most)
		}
	}
	if !bytes.Equal(got, queued) {
		t.Error("what went out is not what was queued")
	}
}

// TestBacklogBound: only what does not go out shows that a client is slow; volatile messages are dropped first, answers are taken beside
// the bound.
func TestBacklogBound(t *testing.T) {
	b := NewBacklog(1000)
	message := func(size int, volatile, answer bool) *Message {
		bld := NewBuilder(size)
		bld.Volatile, bld.Answer = volatile, answer
		return bld.Message(append(bld.Buffer(), strings.Repeat("t", size)...), nil)
	}
	wants := func(what string, m *Message, accepted, slow bool) {
		t.Helper()
		if a, s := b.Queue(m, nil); a != accepted || s != slow {
			t.Errorf("%s: Queue = %v, %v, want %v, %v", what, a, s, accepted, slow)
		}
	}
	for range 3 {
		wants("before it was tried", message(900, false, false), true, false)
	}
	for b.Len() > 0 {
		b.Next(1 << 20)
	}
	b.Stuck(true)
	wants("the first", message(600, false, false), true, false)
	wants("volatile over half", message(10, true, false), false, false)
	wants("an answer", message(900, false, true), true, false)
	wants("another answer", message(900, false, true), true, false)
	wants("a push within the bound", message(300, false, false), true, false)
	wants("a push over the bound", message(300, false, false), false, true)
}
