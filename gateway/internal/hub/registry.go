package hub

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
)

// Registry finds the local sockets by user (shards) and by id (byID).
type Registry struct {
	seed   maphash.Seed
	shards [registryShards]registryShard
	byID   *index
}

const registryShards = 64

type registryShard struct {
	mu     sync.Mutex // guards users
	byUser map[string][]*session.Socket
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry {
	r := &Registry{seed: maphash.MakeSeed(), byID: newIndex()}
	for i := range r.shards {
		r.shards[i].byUser = make(map[string][]*session.Socket)
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
	sockets := sh.byUser[s.UserID]
	grown := make([]*session.Socket, len(sockets)+1) // exact: most users have one socket
	copy(grown, sockets)
	grown[len(sockets)] = s
	sh.byUser[s.UserID] = grown
}

// Remove forgets a socket.
func (r *Registry) Remove(s *session.Socket) {
	r.byID.remove(s)
	sh := r.shard(s.UserID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(sh.byUser[s.UserID]), func(o *session.Socket) bool { return o == s })
	if len(left) == 0 {
		delete(sh.byUser, s.UserID)
		return
	}
	sh.byUser[s.UserID] = left
}

// User gives the sockets of a user; the slice must not be changed.
func (r *Registry) User(userID string) []*session.Socket {
	sh := r.shard(userID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.byUser[userID]
}

// Socket gives a registered socket by its id, and since when it is registered; nil when there is none.
func (r *Registry) Socket(id string) (*session.Socket, time.Time) {
	sh := r.byID.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	found, ok := sh.sockets[id]
	if !ok {
		return nil, time.Time{}
	}
	return found.socket, time.UnixMilli(found.since)
}

// Each calls f for every socket, without a lock held. Sockets that come or go meanwhile may be missed or included.
func (r *Registry) Each(f func(*session.Socket)) {
	var batch []*session.Socket
	for i := range r.shards {
		sh := &r.shards[i]
		batch = batch[:0]
		sh.mu.Lock()
		for _, sockets := range sh.byUser {
			batch = append(batch, sockets...)
		}
		sh.mu.Unlock()
		for _, s := range batch {
			f(s)
		}
	}
}
