// Package bounded has maps that forget instead of growing without end.
package bounded

// Map holds at most 2*Size entries: when the young half is full it becomes the old half, and what was old and not used since is
// dropped. It is not safe for concurrent use.
type Map[K comparable, V any] struct {
	Size int // must be set; the rest is ready

	young, old map[K]V
}

// Get gives the value of a key, if it is there, and keeps it for longer.
func (m *Map[K, V]) Get(k K) (V, bool) {
	if v, ok := m.young[k]; ok {
		return v, true
	}
	v, ok := m.old[k]
	if ok {
		m.Put(k, v)
	}
	return v, ok
}

// Put sets the value of a key.
func (m *Map[K, V]) Put(k K, v V) {
	if _, ok := m.young[k]; !ok && len(m.young) >= m.Size {
		m.old, m.young = m.young, nil
	}
	if m.young == nil {
		m.young = make(map[K]V)
	}
	m.young[k] = v
}

// Age makes the young half the old one, and drops what was old and not used since. It tells how many entries are left.
func (m *Map[K, V]) Age() int {
	m.old, m.young = m.young, nil
	return len(m.old)
}

// Remove forgets a key.
func (m *Map[K, V]) Remove(k K) {
	delete(m.young, k)
	delete(m.old, k)
}
