package bounded

import "testing"

func TestMap(t *testing.T) {
	m := Map[int, string]{Size: 10}
	for i := range 1000 {
		m.Put(i, "x")
		if _, ok := m.Get(0); !ok {
			t.Fatalf("an entry that is used all the time is gone after %d more", i)
		}
		if n := len(m.young) + len(m.old); n > 20 {
			t.Fatalf("%d entries, want at most 20", n)
		}
	}
	if v, ok := m.Get(999); v != "x" || !ok {
		t.Errorf("Get(999) = %q, %v, want the newest entry", v, ok)
	}
	if _, ok := m.Get(1); ok {
		t.Error("an entry that was not used is still there")
	}
	if n := m.Age(); n == 0 {
		t.Error("Age = 0 with young entries, want their number")
	}
	if v, ok := m.Get(999); v != "x" || !ok {
		t.Errorf("Get(999) after one Age = %q, %v, want the newest entry", v, ok)
	}
	m.Remove(999)
	m.Remove(0)
	for _, i := range []int{999, 0} {
		if _, ok := m.Get(i); ok {
			t.Errorf("entry %d was removed and is there", i)
		}
	}
	m.Age()
	if n := m.Age(); n != 0 {
		t.Errorf("%d entries are left after two more Ages, want none", n)
	}
}
