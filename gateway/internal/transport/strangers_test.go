package transport

import (
	"slices"
	"testing"
)

// stranger notes who had to go; one that is none any more stays.
type stranger struct {
	name  string
	known bool
	gone  *[]string
	place Place
}

func (s *stranger) Displace() bool {
	if !s.known {
		*s.gone = append(*s.gone, s.name)
	}
	return !s.known
}

// TestStrangersGoInOrder: the one that has waited the longest goes first, and before it those who tried in vain; who has left the line
// stays, and so does one that was let in that very moment.
func TestStrangersGoInOrder(t *testing.T) {
	var line Strangers
	var gone []string
	all := make(map[string]*stranger)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		all[name] = &stranger{name: name, gone: &gone}
		line.Wait(all[name], &all[name].place, false)
	}
	line.Leave(&all["b"].place)
	line.Leave(&all["d"].place)
	line.Leave(&all["d"].place)
	line.Wait(all["d"], &all["d"].place, true)
	line.Wait(all["e"], &all["e"].place, true) // it waits already
	all["a"].known = true
	var made []bool
	for range 4 {
		made = append(made, line.Displace())
	}
	if want := []string{"d", "c", "e"}; !slices.Equal(gone, want) || !slices.Equal(made, []bool{true, true, true, false}) {
		t.Errorf("%v had to go (%v), want %v and then nobody", gone, made, want)
	}
	line.Leave(&all["a"].place) // after its place was taken
	line.Wait(all["a"], &all["a"].place, false)
	all["a"].known = false
	if !line.Displace() || gone[len(gone)-1] != "a" {
		t.Errorf("%v had to go, want a as well", gone)
	}
	var none *Strangers
	none.Wait(all["a"], &Place{}, false)
	none.Leave(&Place{})
	if none.Displace() {
		t.Error("nobody makes room where there is no line, want false")
	}
}
