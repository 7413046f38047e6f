package sessionstore

import (
	"slices"
	"testing"
)

// TestHolders: a pid leads to the socket that lives and to those that are about to take it over, and to no other.
func TestHolders(t *testing.T) {
	type socket struct {
		pid    string
		number int
	}
	h := NewHolders(func(s *socket) string { return s.pid })
	one, two, three, nine := &socket{"p", 1}, &socket{"p", 2}, &socket{"p", 3}, &socket{"other", 9}
	yes, no := func() bool { return true }, func() bool { return false }
	has := func(want ...*socket) {
		t.Helper()
		if got := h.Of("p"); !slices.Equal(got, want) {
			t.Errorf("Of(p) = %v, want %v", got, want)
		}
	}
	if h.Add(one, no) {
		t.Error("Add of one that has ended = true, want false")
	}
	has()
	if !h.Add(one, yes) || !h.Add(nine, yes) {
		t.Error("Add of one that lives = false, want true")
	}
	has(one)
	h.BeginAdoption("p", two)
	h.BeginAdoption("p", three)
	has(two, three, one)
	h.Add(two, yes)
	h.EndAdoption("p", two)
	has(three, two)
	h.Remove("p", one) // its end is noticed late
	has(three, two)
	h.EndAdoption("p", three)
	h.Remove("p", two)
	has()
}
