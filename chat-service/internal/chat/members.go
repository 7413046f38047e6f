package chat

import (
	"context"
	"sync"
	"time"
)

// maxRemembered bounds the memberships kept; at the bound the older half of memory goes.
const maxRemembered = 1 << 16

// members remembers for a moment who is a member, so that a burst of ephemeral events of one user costs one query.
// Only "yes" is remembered. Two generations take turns: what is older than one to two spans is gone.
type members struct {
	// Fixed at birth.
	store Store
	ttl   time.Duration

	// Guarded by mu.
	mu          sync.Mutex
	known       map[Membership]time.Time // → good until
	previous    map[Membership]time.Time
	turned      time.Time
	generations uint64 // counts forget, so that a read begun before it is not remembered
}

func newMembers(store Store, ttl time.Duration) *members {
	return &members{store: store, ttl: ttl, known: map[Membership]time.Time{}, previous: map[Membership]time.Time{}}
}

// require returns the fault for a non-member.
func (m *members) require(ctx context.Context, pair Membership) error {
	at := time.Now()
	known, generation := m.lookup(pair, at)
	if known {
		return nil
	}
	exists, member, err := m.store.Membership(ctx, pair)
	switch {
	case err != nil:
		return err
	case !exists:
		return errNoRoom()
	case !member:
		return errNotMember()
	}
	m.remember(pair, at.Add(m.ttl), generation)
	return nil
}

func (m *members) lookup(pair Membership, at time.Time) (known bool, generation uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.known[pair]
	if !ok {
		until = m.previous[pair]
	}
	return at.Before(until), m.generations
}

func (m *members) remember(pair Membership, until time.Time, generation uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.generations != generation || m.ttl <= 0 {
		return
	}
	if at := time.Now(); at.Sub(m.turned) > m.ttl || len(m.known) >= maxRemembered/2 {
		m.previous, m.known, m.turned = m.known, make(map[Membership]time.Time, len(m.known)), at
	}
	m.known[pair] = until
}

// forget is called when a membership changed in this process; other processes learn by the span.
func (m *members) forget(pair Membership) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generations++
	delete(m.known, pair)
	delete(m.previous, pair)
}
