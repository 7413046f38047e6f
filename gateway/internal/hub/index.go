package hub

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
)

// index finds the registered sockets by their id, and tells since when they are registered.
type index struct {
	seed   maphash.Seed
	shards [registryShards]indexShard
}

type indexShard struct {
	mu      sync.Mutex // guards sockets
	sockets map[string]indexed
}

type indexed struct {
	socket *session.Socket
	since  int64 // Unix milliseconds
}

func newIndex() *index {
	x := &index{seed: maphash.MakeSeed()}
	for i := range x.shards {
		x.shards[i].sockets = make(map[string]indexed)
	}
	return x
}

func (x *index) shard(id string) *indexShard {
	return &x.shards[maphash.String(x.seed, id)%registryShards]
}

func (x *index) add(s *session.Socket) {
	sh := x.shard(s.ID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.sockets[s.ID] = indexed{socket: s, since: time.Now().UnixMilli()}
}

// remove forgets a socket, unless its id has gone over to another one: a recovered client keeps its id.
func (x *index) remove(s *session.Socket) {
	sh := x.shard(s.ID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.sockets[s.ID].socket == s {
		delete(sh.sockets, s.ID)
	}
}
