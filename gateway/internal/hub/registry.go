package hub

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/table"
)

// Registry finds the local sockets by user (shards) and by id (byID).
type Registry struct {
	seed   maphash.Seed
	shards [registryShards]registryShard
	byID   *index
}

const registryShards = 64

type registryShard struct {
	mu sync.Mutex // guards what follows
	// Most users have one socket, which takes less than a list of one.
	alone   *table.Table[string, session.Socket]
	several map[string][]*session.Socket // never changed in place: User gives them away
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry {
	r := &Registry{seed: maphash.MakeSeed(), byID: newIndex()}
	for i := range r.shards {
		r.shards[i].alone = table.New(func(s *session.Socket) string { return s.UserID })
		r.shards[i].several = make(map[string][]*session.Socket)
	}
	return r
}

func (r *Registry) shard(userID string) *registryShard {
	return &r.shards[maphash.String(r.seed, userID)%registryShards]
}

// Add notes a socket.
func (r *Registry) Add(s *session.Socket) {
	r.byID.add(s)
	sh := r.shard(s.UserID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sockets, one := sh.several[s.UserID], sh.alone.Get(s.UserID)
	switch {
	case one != nil:
		sh.alone.Remove(s.UserID)
		sh.several[s.UserID] = []*session.Socket{one, s}
	case sockets != nil:
		sh.several[s.UserID] = append(slices.Clip(sockets), s)
	default:
		sh.alone.Put(s)
	}
}

// Remove forgets a socket.
func (r *Registry) Remove(s *session.Socket) {
	r.byID.remove(s)
	sh := r.shard(s.UserID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.alone.Get(s.UserID) == s {
		sh.alone.Remove(s.UserID)
		return
	}
	left := slices.DeleteFunc(slices.Clone(sh.several[s.UserID]), func(o *session.Socket) bool { return o == s })
	switch len(left) {
	case 0: // it was not registered
	case 1:
		delete(sh.several, s.UserID)
		sh.alone.Put(left[0])
	default:
		sh.several[s.UserID] = left
	}
}

// User gives the sockets of a user; the slice must not be changed.
func (r *Registry) User(userID string) []*session.Socket {
	sh := r.shard(userID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if one := sh.alone.Get(userID); one != nil {
		return one.Alone()
	}
	return sh.several[userID]
}

// Socket gives a registered socket by its id, and since when it is registered; nil when there is none.
func (r *Registry) Socket(id string) (*session.Socket, time.Time) {
	sh := r.byID.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	found := sh.sockets.Get(id)
	if found == nil {
		return nil, time.Time{}
	}
	return found, time.UnixMilli(found.Registered)
}

// Each calls f for every socket, without a lock held. Sockets that come or go meanwhile may be missed or included.
func (r *Registry) Each(f func(*session.Socket)) {
	var batch []*session.Socket
	for i := range r.shards {
		sh := &r.shards[i]
		batch = batch[:0]
		sh.mu.Lock()
		batch = slices.AppendSeq(batch, sh.alone.All())
		for _, sockets := range sh.several {
			batch = append(batch, sockets...)
		}
		sh.mu.Unlock()
		for _, s := range batch {
			f(s)
		}
	}
}
