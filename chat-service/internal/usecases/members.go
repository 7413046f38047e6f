package usecases

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// maxRemembered bounds the memberships kept; at the bound the older half of memory goes.
const maxRemembered = 1 << 16

// members remembers for a moment how members stand to their rooms, so that a burst of ephemeral events of one user costs one query.
// Only members are remembered. Two generations take turns: what is older than one to two spans is gone.
type members struct {
	// Fixed at birth.
	store Store
	ttl   time.Duration

	// Guarded by mu.
	mu          sync.Mutex
	known       map[chat.Membership]remembered
	previous    map[chat.Membership]remembered
	turned      time.Time
	generations uint64 // counts forget, so that a read begun before it is not remembered
}

type remembered struct {
	access.Standing

	name  chat.Name
	until time.Time // it is good
}

func newMembers(store Store, ttl time.Duration) *members {
	return &members{store: store, ttl: ttl, known: map[chat.Membership]remembered{}, previous: map[chat.Membership]remembered{}}
}

// require returns the fault for what the user may not do in the room.
func (m *members) require(ctx context.Context, c Caller, room chat.RoomID, act access.Act) error {
	_, err := m.named(ctx, c, room, act)
	return err
}

// named is require that also gives the member's name.
func (m *members) named(ctx context.Context, c Caller, room chat.RoomID, act access.Act) (chat.Name, error) {
	at, pair := time.Now(), c.of(room)
	r, generation := m.lookup(pair)
	if !at.Before(r.until) {
		standing, name, err := m.store.Standing(ctx, pair)
		if err != nil {
			return chat.Name{}, err
		}
		if r = (remembered{standing, name, at.Add(m.ttl)}); standing.Member {
			m.remember(pair, r, generation)
		}
	}
	r.Granted = c.granted(room) // of this request: another one of the user may come with another token
	return r.name, r.Refuse(act, at)
}

func (m *members) lookup(pair chat.Membership) (r remembered, generation uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.known[pair]
	if !ok {
		r = m.previous[pair]
	}
	return r, m.generations
}

func (m *members) remember(pair chat.Membership, r remembered, generation uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.generations != generation || m.ttl <= 0 {
		return
	}
	if at := time.Now(); at.Sub(m.turned) > m.ttl || len(m.known) >= maxRemembered/2 {
		m.previous, m.known, m.turned = m.known, make(map[chat.Membership]remembered, len(m.known)), at
	}
	m.known[pair] = r
}

// forgetRoom is forget for everybody in a room.
func (m *members) forgetRoom(room chat.RoomID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generations++
	ofRoom := func(pair chat.Membership, _ remembered) bool { return pair.Room == room }
	maps.DeleteFunc(m.known, ofRoom)
	maps.DeleteFunc(m.previous, ofRoom)
}

// forget is called when a membership changed in this process; other processes learn by the span.
func (m *members) forget(pair chat.Membership) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generations++
	delete(m.known, pair)
	delete(m.previous, pair)
}
