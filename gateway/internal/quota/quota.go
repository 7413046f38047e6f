package quota

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/gateway/internal/table"
)

// Limits bound one user; 0 sets no limit.
type Limits struct {
	Sockets   int
	Events    float64 // a second
	Bursts    float64 // events at once
	Bytes     float64 // of events, a second
	BurstSize float64 // bytes at once
}

// Users are the users who have sockets here.
type Users struct {
	limits Limits
	seed   maphash.Seed
	began  time.Time // times are counted from here
	shards [shards]shard
}

const shards = 64

type shard struct {
	mu    sync.Mutex // guards users, and the sockets of each
	users *table.Table[string, User]
}

// User is what one user takes.
type User struct {
	all     *Users
	id      string
	sockets int // guarded by its shard
	events  bucket
	bytes   bucket
}

// New makes an empty set of users.
func New(limits Limits) *Users {
	q := &Users{limits: limits, seed: maphash.MakeSeed(), began: time.Now()}
	for i := range q.shards {
		q.shards[i].users = table.New(func(u *User) string { return u.id })
	}
	return q
}

func (q *Users) shard(id string) *shard { return &q.shards[maphash.String(q.seed, id)%shards] }

// Enter counts one more socket of a user; each success needs one Leave. It is nil when the user has as many as it may.
func (q *Users) Enter(id string) *User {
	sh := q.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.users.Get(id)
	switch {
	case u == nil:
		u = &User{all: q, id: id}
		sh.users.Put(u)
	case q.limits.Sockets > 0 && u.sockets >= q.limits.Sockets:
		return nil
	}
	u.sockets++
	return u
}

// Full tells whether a user has as many sockets as it may.
func (q *Users) Full(id string) bool {
	sh := q.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.users.Get(id)
	return u != nil && q.limits.Sockets > 0 && u.sockets >= q.limits.Sockets
}

// Return is Enter for a socket that comes back: the one before it may still be counted.
func (q *Users) Return(id string) *User {
	sh := q.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.users.Get(id)
	if u == nil {
		u = &User{all: q, id: id}
		sh.users.Put(u)
	}
	u.sockets++
	return u
}

// Leave takes one socket off. A nil User has nothing.
func (u *User) Leave() {
	if u == nil {
		return
	}
	sh := u.all.shard(u.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u.sockets--; u.sockets == 0 {
		sh.users.Remove(u.id)
	}
}

// Take counts an event of some bytes. A nil User has no limits. ok is false when the user has sent too much; wait tells after which time one may try again.
func (u *User) Take(bytes int, now time.Time) (wait time.Duration, ok bool) {
	if u == nil {
		return 0, true
	}
	at, limits := now.Sub(u.all.began), &u.all.limits
	if wait, ok = u.events.take(1, limits.Events, limits.Bursts, at); !ok {
		return wait, false
	}
	return u.bytes.take(float64(bytes), limits.Bytes, limits.BurstSize, at)
}

// bucket is a token bucket in one word (GCRA): the time at which it would be full again.
type bucket struct {
	full atomic.Int64 // since Users.began
}

// take takes n tokens of a bucket that fills by rate a second up to burst. More than burst at once count as burst, so that they are let
// through by a full bucket.
func (b *bucket) take(n, rate, burst float64, at time.Duration) (wait time.Duration, ok bool) {
	if rate <= 0 {
		return 0, true
	}
	cost := time.Duration(min(n, burst) / rate * float64(time.Second))
	depth := time.Duration(burst / rate * float64(time.Second))
	for {
		old := b.full.Load()
		next := max(time.Duration(old), at) + cost
		if wait = next - at - depth; wait > 0 {
			return wait, false
		}
		if b.full.CompareAndSwap(old, int64(next)) {
			return 0, true
		}
	}
}
