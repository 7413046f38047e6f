package table

import (
	"hash/maphash"
	"iter"
)

// Table holds objects, at most one with each key. An object's key never changes while it is in the table. The Table has no lock: its owner
// guards it.
//
// It is a hash table with open addressing and linear probing:
//
//	home of "a"       home of "b", which stands one further
//	     ▼            ▼
//	[ ][a][c][ ] [ ][d][b][ ]      a search ends at the object, or at the first gap
//
// Removing an object moves those behind it up, so that gaps stay where searches expect them.
type Table[K comparable, T any] struct {
	key   func(*T) K
	seed  maphash.Seed
	slots []*T // of a power of two, or none
	count int
}

// New makes an empty table of objects with the given key.
func New[K comparable, T any](key func(*T) K) *Table[K, T] {
	return &Table[K, T]{key: key, seed: maphash.MakeSeed()}
}

const (
	leastSlots = 8
	// The table grows before more than fullest/5 of its slots are taken, and shrinks when fewer than one in sparse are.
	fullest = 4
	sparse  = 8
)

// Len is how many objects there are.
func (t *Table[K, T]) Len() int { return t.count }

// Get gives the object with a key; nil when there is none.
func (t *Table[K, T]) Get(key K) *T {
	if i, found := t.find(key); found {
		return t.slots[i]
	}
	return nil
}

// Put adds an object. It takes the place of the one with the same key.
func (t *Table[K, T]) Put(object *T) {
	i, found := t.find(t.key(object))
	if !found {
		if 5*(t.count+1) > fullest*len(t.slots) {
			t.resize(max(leastSlots, 2*len(t.slots)))
			i, _ = t.find(t.key(object))
		}
		t.count++
	}
	t.slots[i] = object
}

// Remove removes the object with a key, if there is one.
func (t *Table[K, T]) Remove(key K) {
	gap, found := t.find(key)
	if !found {
		return
	}
	t.slots[gap] = nil
	t.count--
	for i := t.after(gap); t.slots[i] != nil; i = t.after(i) {
		if t.distance(t.home(t.key(t.slots[i])), i) >= t.distance(gap, i) { // its search passes the gap
			t.slots[gap], t.slots[i] = t.slots[i], nil
			gap = i
		}
	}
	if sparse*t.count < len(t.slots) && len(t.slots) > leastSlots {
		t.resize(len(t.slots) / 2)
	}
}

// All gives the objects, in no order. The table must not change meanwhile.
func (t *Table[K, T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, object := range t.slots {
			if object != nil && !yield(object) {
				return
			}
		}
	}
}

// find gives the slot of a key, or the gap where it would be.
func (t *Table[K, T]) find(key K) (slot int, found bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	i := t.home(key)
	for ; t.slots[i] != nil; i = t.after(i) {
		if t.key(t.slots[i]) == key {
			return i, true
		}
	}
	return i, false
}

func (t *Table[K, T]) home(key K) int {
	return int(maphash.Comparable(t.seed, key) & uint64(len(t.slots)-1)) //nolint:gosec // below the number of slots
}

func (t *Table[K, T]) after(slot int) int { return (slot + 1) & (len(t.slots) - 1) }

// distance is how far it is from one slot on to another one.
func (t *Table[K, T]) distance(from, to int) int { return (to - from) & (len(t.slots) - 1) }

func (t *Table[K, T]) resize(slots int) {
	old := t.slots
	t.slots = make([]*T, slots)
	for _, object := range old {
		if object != nil {
			i, _ := t.find(t.key(object))
			t.slots[i] = object
		}
	}
}
