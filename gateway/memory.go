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
	// memoryCalm is how long no handshake comes until a burst is over.
	memoryCalm = 2 * time.Second
	// memoryBurst is how many handshakes leave enough behind to be worth a collection.
	memoryBurst = 500
	// memoryShare: so many open sessions keep as much as one handshake leaves behind.
	memoryShare = 20
	// memoryRounds is how often it collects after a burst: each round halves stacks that grew.
	memoryRounds = 3
)

// keepMemory keeps the heap of a burst of handshakes dense, and gives the memory back to the system once it is over. A handshake needs
// several times what an idle connection keeps, and the more lies around when the collector runs, the further apart is what stays:
// pages that are nearly empty cannot be given back. So in a burst it collects as often as Go would without HEAP_FLOOR_BYTES: when as much
// is left behind as lives. Afterwards, without traffic, nothing would make the collector run. While connections come one by one, or
// frames flow, the collector runs by itself and this does nothing but look.
func keepMemory(ctx context.Context, sessions *session.Server) error {
	ticker := time.NewTicker(memoryTick)
	defer ticker.Stop()
	k := memoryKeeper{calmSince: time.Now(), open: sessions.Count, collections: collections}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			switch k.look(sessions.Opened(), now) {
			case memoryCollect:
				runtime.GC()
			case memoryReturn:
				debug.FreeOSMemory()
			case memoryNothing:
			}
		}
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
	open        func() int    // sessions
	collections func() uint64 // of the process, so far

	last      int64     // how many sessions had been opened at the last look
	calmSince time.Time // none was opened
	kept      int64     // how many had been opened when memory was given back last
	rounds    int       // of giving back, since then
	collected int64     // how many had been opened at the last collection
	seen      uint64    // the number of that collection
}

func (k *memoryKeeper) look(opened int64, now time.Time) memoryStep {
	if n := k.collections(); n != k.seen {
		k.seen, k.collected = n, opened
	}
	if opened != k.last {
		k.last, k.calmSince = opened, now
		if opened-k.collected >= int64(memoryBurst+k.open()/memoryShare) {
			return memoryCollect
		}
		return memoryNothing
	}
	if opened-k.kept < memoryBurst || now.Sub(k.calmSince) < memoryCalm {
		return memoryNothing
	}
	k.calmSince = now
	if k.rounds++; k.rounds == memoryRounds {
		k.kept, k.rounds = opened, 0
	}
	return memoryReturn
}

// collections tells how often the collector has run.
func collections() uint64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
