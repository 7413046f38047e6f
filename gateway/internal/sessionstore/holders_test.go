package sessionstore

import (
	"slices"
	"testing"
)

// TestHolders: a pid leads to the socket that lives and to those that are about to take it over, and to no other.
func TestHolders(t *testing.T) {
	h := NewHolders[int]()
	yes, no := func() bool { return true }, func() bool { return false }
	has := func(want ...int) {
		t.Helper()
		if got := h.Of("p"); !slices.Equal(got, want) {
			t.Errorf("Of(p) = %v, want %v", got, want)
		}
	}
	if h.Add("p", 1, no) {
		t.Error("Add of one that has ended = true, want false")
	}
	has()
	if !h.Add("p", 1, yes) || !h.Add("other", 9, yes) {
		t.Error("Add of one that lives = false, want true")
	}
	has(1)
	h.BeginAdoption("p", 2)
	h.BeginAdoption("p", 3)
	has(2, 3, 1)
	h.Add("p", 2, yes)
	h.EndAdoption("p", 2)
	has(3, 2)
	h.Remove("p", 1) // its end is noticed late
	has(3, 2)
	h.EndAdoption("p", 3)
	h.Remove("p", 2)
	has()
}
