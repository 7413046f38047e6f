package gateway

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
)

const (
	memoryTick = 100 * time.Millisecond
	// memoryBurst is how many handshakes or joins leave enough behind to be worth a collection.
	memoryBurst = 500
	// memoryShare: so many open sessions keep as much as one handshake, or one join, leaves behind.
	memoryShare = 20
	// memoryCalm is how long next to nothing is allocated until a burst of work is over.
	memoryCalm = 2 * time.Second
	// memoryStill is next to nothing, in bytes: less than heartbeats take.
	memoryStill = 2 << 20
	// memoryWork is how many allocated bytes leave enough behind to give memory back.
	memoryWork = 16 << 20
	// memoryRounds is how often it is given back then: each round halves stacks that grew.
	memoryRounds = 3
)

// memory keeps the heap of a burst of handshakes and joins dense, and gives memory back to the system once a burst of whatever is over.
// A handshake needs several times what an idle connection keeps, and the more lies around when the collector runs, the further apart is what
// stays: pages that are nearly empty cannot be given back. So in a burst it collects as often as Go would without HEAP_FLOOR_BYTES: when as
// much is left behind as lives. Afterwards, without traffic, nothing would make the collector run, or give back what it found. While clients
// come one by one, or frames flow, the collector runs by itself and this does nothing but look.
type memory struct {
	sessions *session.Server
	joins    func() int64 // of sockets into rooms, so far
}

// Run looks after the memory until ctx ends.
func (m memory) Run(ctx context.Context) error {
	ticker := time.NewTicker(memoryTick)
	defer ticker.Stop()
	k := memoryKeeper{still: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			switch k.look(m.use(), now) {
			case memoryCollect:
				runtime.GC()
			case memoryReturn:
				debug.FreeOSMemory()
			case memoryNothing:
			}
		}
	}
}

// memoryUse is what the process has done so far.
type memoryUse struct {
	grown       int64  // handshakes and joins
	open        int64  // sessions now
	allocated   uint64 // bytes
	collections uint64
}

func (m memory) use() memoryUse {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(samples)
	return memoryUse{
		grown: m.sessions.Opened() + m.joins(), open: int64(m.sessions.Count()),
		allocated: samples[0].Value.Uint64(), collections: samples[1].Value.Uint64(),
	}
}

// memoryStep is what is to be done about the memory.
type memoryStep int

const (
	memoryNothing memoryStep = iota
	memoryCollect
	memoryReturn // to the system
)

// memoryKeeper decides about it.
type memoryKeeper struct {
	last      int64 // grown, at the last look
	collected int64 // grown, at the last collection
	seen      uint64

	still    time.Time // since when next to nothing has been allocated
	stillAt  uint64    // what had been allocated then
	returned uint64    // what had been allocated when memory was given back last
	rounds   int       // of giving back, since then
}

func (k *memoryKeeper) look(use memoryUse, now time.Time) memoryStep {
	if use.collections != k.seen {
		k.seen, k.collected = use.collections, use.grown
	}
	growing := use.grown != k.last
	k.last = use.grown
	if growing && use.grown-k.collected >= memoryBurst+use.open/memoryShare {
		return memoryCollect
	}
	if use.allocated-k.stillAt > memoryStill {
		k.still, k.stillAt = now, use.allocated
	}
	if use.allocated-k.returned < memoryWork || now.Sub(k.still) < memoryCalm {
		return memoryNothing
	}
	k.still, k.stillAt = now, use.allocated
	if k.rounds++; k.rounds == memoryRounds {
		k.returned, k.rounds = use.allocated, 0
	}
	return memoryReturn
}
