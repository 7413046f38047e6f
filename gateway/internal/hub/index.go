package hub

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/table"
)

// index finds the registered sockets by their id.
type index struct {
	seed   maphash.Seed
	shards [registryShards]indexShard
}

type indexShard struct {
	mu      sync.Mutex // guards sockets, and since when each is registered
	sockets *table.Table[string, session.Socket]
}

func newIndex() *index {
	x := &index{seed: maphash.MakeSeed()}
	for i := range x.shards {
		x.shards[i].sockets = table.New(func(s *session.Socket) string { return s.ID })
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
	s.Registered = time.Now().UnixMilli()
	sh.sockets.Put(s)
}

// remove forgets a socket, unless its id has gone over to another one: a recovered client keeps its id.
func (x *index) remove(s *session.Socket) {
	sh := x.shard(s.ID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.sockets.Get(s.ID) == s {
		sh.sockets.Remove(s.ID)
	}
}
