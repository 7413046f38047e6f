package table

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

type object struct{ name string }

func newTable() *Table[string, object] { return New(func(o *object) string { return o.name }) }

// TestTable does the same to a table and to a map, thousands of times, and compares.
func TestTable(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	table, want := newTable(), make(map[string]*object)
	for round := range 20_000 {
		most := 1 + round%5000 // it grows and shrinks again
		name := fmt.Sprint(random.IntN(most))
		switch random.IntN(3) {
		case 0:
			table.Remove(name)
			delete(want, name)
		default:
			o := &object{name}
			table.Put(o)
			want[name] = o
		}
		probe := fmt.Sprint(random.IntN(most))
		if table.Len() != len(want) || table.Get(name) != want[name] || table.Get(probe) != want[probe] {
			t.Fatalf("round %d: Len() = %d, Get(%q) = %v, Get(%q) = %v, want %d, %v, %v",
				round, table.Len(), name, table.Get(name), probe, table.Get(probe), len(want), want[name], want[probe])
		}
		if round%500 == 0 {
			compare(t, table, want)
		}
	}
	compare(t, table, want)
	for name := range maps.Clone(want) {
		table.Remove(name)
		delete(want, name)
		if len(want)%100 == 0 {
			compare(t, table, want)
		}
	}
	if len(table.slots) > leastSlots {
		t.Errorf("an empty table has %d slots, want %d at most", len(table.slots), leastSlots)
	}
}

func compare(t *testing.T, table *Table[string, object], want map[string]*object) {
	t.Helper()
	for name, o := range want {
		if got := table.Get(name); got != o {
			t.Fatalf("Get(%q) = %v, want %v", name, got, o)
		}
	}
	all := slices.Collect(table.All())
	if len(all) != len(want) || table.Len() != len(want) {
		t.Fatalf("All() gives %d and Len() is %d, want %d", len(all), table.Len(), len(want))
	}
	if n := len(table.slots); n > leastSlots && (5*len(want) > fullest*n || 2*sparse*len(want) < n) {
		t.Fatalf("%d objects take %d slots", len(want), n)
	}
}

// TestObjectTakesThePlaceOfAnother: the table holds the object that came last, and removing goes by the key.
func TestObjectTakesThePlaceOfAnother(t *testing.T) {
	table := newTable()
	if table.Get("a") != nil || table.Len() != 0 {
		t.Error("an empty table has something")
	}
	table.Remove("a")
	first, second := &object{"a"}, &object{"a"}
	table.Put(first)
	table.Put(second)
	if got := table.Get("a"); got != second || table.Len() != 1 {
		t.Errorf("Get = %p of %d, want the second, %p, of 1", got, table.Len(), second)
	}
	for o := range table.All() {
		if o != second {
			t.Errorf("All gives %p, want %p", o, second)
		}
		break
	}
}

func BenchmarkGet(b *testing.B) {
	table, names := newTable(), make([]string, 300)
	for i := range names {
		names[i] = fmt.Sprintf("user-%06d", i)
		table.Put(&object{names[i]})
	}
	for i := 0; b.Loop(); i++ {
		if table.Get(names[i%len(names)]) == nil {
			b.Fatal("lost")
		}
	}
}
