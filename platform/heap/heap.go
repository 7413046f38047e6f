// Package heap keeps the garbage collector from running many times a second in a process that keeps little.
package heap

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Go collects when the heap has grown to twice of what lives in it. A busy chat-service or gateway with few connections keeps some
// 15 MiB and allocates 150 MiB a second: that is ten collections a second, after each of which idle stacks are halved, only to
// grow again, and pools are emptied. A process that keeps more than half the floor is not changed by it.

const (
	goDefault = 100 // percent
	// most is reached by a process that keeps next to nothing.
	most = 3200 // percent
)

// HoldFloor has the process collect garbage not before its heap has reached floor bytes, from the next collection on. It does nothing
// where floor is 0, or where GOGC is another one than Go's default: then the operator has decided. It can be called once a process.
func HoldFloor(floor uint64) {
	if floor == 0 {
		return
	}
	if set := debug.SetGCPercent(goDefault); set != goDefault {
		debug.SetGCPercent(set)
		return
	}
	afterEachCollection(func() { debug.SetGCPercent(percent(floor, read())) })
}

// usage is what a collection has found, in bytes.
type usage struct{ live, stacks, globals uint64 }

// percent is the growth after which the heap reaches floor; Go counts it from all that a collection goes through (gctuning, "The GC's
// goal").
func percent(floor uint64, u usage) int {
	if u.live >= floor {
		return goDefault
	}
	scanned := max(u.live+u.stacks+u.globals, 1)
	return int(min(max(math.Round(float64(floor-u.live)/float64(scanned)*100), goDefault), most))
}

func read() usage {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	return usage{live: samples[0].Value.Uint64(), stacks: samples[1].Value.Uint64(), globals: samples[2].Value.Uint64()}
}

// sentinel is not of the tiny objects, which are kept together with their neighbours.
type sentinel struct{ _ [32]byte }

// afterEachCollection calls f on a goroutine of the runtime's.
func afterEachCollection(f func()) {
	runtime.AddCleanup(&sentinel{}, func(f func()) {
		f()
		afterEachCollection(f)
	}, f)
}
