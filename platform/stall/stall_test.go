package stall

import (
	"testing"
	"time"
)

func TestResumed(t *testing.T) {
	w := New(3 * time.Second)
	at := func(d time.Duration) time.Time { return w.start.Add(d) }
	for i := range 20 {
		w.look(at(time.Duration(i) * 300 * time.Millisecond))
	}
	if got := w.Resumed(at(6 * time.Second)); !got.IsZero() {
		t.Errorf("Resumed = %v without a stall, want zero", got.Sub(w.start))
	}
	if got := w.Resumed(at(10 * time.Second)); !got.Equal(at(10 * time.Second)) { // before Run has looked
		t.Errorf("Resumed after a stall = %v, want 10s", got.Sub(w.start))
	}
	w.look(at(10*time.Second + time.Millisecond))
	if got := w.Resumed(at(12 * time.Second)); !got.Equal(at(10 * time.Second)) {
		t.Errorf("Resumed later = %v, want still 10s", got.Sub(w.start))
	}
	w.look(at(20 * time.Second))
	if got := w.Resumed(at(20 * time.Second)); !got.Equal(at(20 * time.Second)) {
		t.Errorf("Resumed after a second stall = %v, want 20s", got.Sub(w.start))
	}
}
