// Package standings remembers for a moment how members stand to their rooms.
package standings

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

// Source knows how users stand to rooms.
type Source interface {
	Standing(ctx context.Context, m chat.Membership) (access.Standing, chat.Name, error)
}

// Cache remembers for a moment how members stand to their rooms, so that a burst of ephemeral events of one user costs one query.
// Only members are remembered. Two generations take turns: what is older than one to two spans is gone. It is safe for concurrent use.
type Cache struct {
	// Fixed at birth.
	source Source
	ttl    time.Duration

	// Guarded by mu.
	mu          sync.Mutex
	known       map[chat.Membership]remembered
	previous    map[chat.Membership]remembered
	turned      time.Time
	generations uint64 // counts Forget, so that a read begun before it is not remembered
}

type remembered struct {
	access.Standing

	name  chat.Name
	until time.Time // it is good
}

// New returns a Cache that trusts what the source said for ttl; 0 or less: for no time.
func New(source Source, ttl time.Duration) *Cache {
	return &Cache{source: source, ttl: ttl, known: map[chat.Membership]remembered{}, previous: map[chat.Membership]remembered{}}
}

// Require gives the name of a member, or the fault for what the user may not do in the room, with the rights that come along.
func (c *Cache) Require(ctx context.Context, pair chat.Membership, granted access.Rights, act access.Act) (chat.Name, error) {
	at := time.Now()
	r, generation := c.lookup(pair)
	if !at.Before(r.until) {
		standing, name, err := c.source.Standing(ctx, pair)
		if err != nil {
			return chat.Name{}, err
		}
		if r = (remembered{standing, name, at.Add(c.ttl)}); standing.Member {
			c.remember(pair, r, generation)
		}
	}
	r.Granted = granted // of this request: another one of the user may come with another token
	return r.name, r.Refuse(act, at)
}

func (c *Cache) lookup(pair chat.Membership) (r remembered, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.known[pair]
	if !ok {
		r = c.previous[pair]
	}
	return r, c.generations
}

func (c *Cache) remember(pair chat.Membership, r remembered, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generations != generation || c.ttl <= 0 {
		return
	}
	if at := time.Now(); at.Sub(c.turned) > c.ttl || len(c.known) >= maxRemembered/2 {
		c.previous, c.known, c.turned = c.known, make(map[chat.Membership]remembered, len(c.known)), at
	}
	c.known[pair] = r
}

// ForgetRoom is Forget for everybody in a room.
func (c *Cache) ForgetRoom(room chat.RoomID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generations++
	ofRoom := func(pair chat.Membership, _ remembered) bool { return pair.Room == room }
	maps.DeleteFunc(c.known, ofRoom)
	maps.DeleteFunc(c.previous, ofRoom)
}

// Forget is called when a membership changed in this process; other processes learn by the span.
func (c *Cache) Forget(pair chat.Membership) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generations++
	delete(c.known, pair)
	delete(c.previous, pair)
}
