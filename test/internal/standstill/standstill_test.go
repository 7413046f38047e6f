package standstill

import (
	"slices"
	"testing"
	"time"
)

func TestStalls(t *testing.T) {
	w := New(nil)
	at := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
	for _, looks := range [][2]int{{0, 11}, {11, 80}, {80, 500}, {500, 510}, {510, 2510}} {
		w.look(at(looks[0]), at(looks[1]))
	}
	if got, want := w.Stalls(), []Stall{{at(90), at(500)}, {at(520), at(2510)}}; !slices.Equal(got, want) {
		t.Errorf("Stalls() = %v, want %v", got, want)
	}
	for from, want := range map[int]int{0: 2400, 400: 2090, 600: 1910, 2600: 0} {
		if got := w.Since(at(from)); got != at(want) {
			t.Errorf("Since(%d ms) = %v, want %d ms", from, got, want)
		}
	}
}
