// Package histogram counts durations in buckets whose width is at most 1/64 of their value.
package histogram

import (
	"math/bits"
	"time"
)

const (
	subBits = 6
	buckets = (64 - subBits) << subBits
)

// Histogram is not safe for concurrent use; keep one per loop and Add them up. The zero value is empty.
type Histogram struct {
	counts [buckets]uint32
	n      int64
	sum    time.Duration
	max    time.Duration
}

// index is exact below 64 ns; above, the top seven bits choose the bucket.
func index(v uint64) int {
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift << subBits) + int(v>>shift) //nolint:gosec // bounded
}

// upper is the largest value of a bucket.
func upper(i int) uint64 {
	if i < 1<<subBits {
		return uint64(i) //nolint:gosec // not negative
	}
	shift := i>>subBits - 1
	return uint64(i-shift<<subBits+1)<<shift - 1 //nolint:gosec // not negative
}

// Record counts d; negative ones count as 0.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[index(uint64(d))]++
	h.n++
	h.sum += d
	h.max = max(h.max, d)
}

// Add adds other's counts.
func (h *Histogram) Add(other *Histogram) {
	for i, c := range other.counts {
		h.counts[i] += c
	}
	h.n += other.n
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// Count is how many durations were recorded.
func (h *Histogram) Count() int64 { return h.n }

// Max is the longest.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile is the duration that the fraction q (0 to 1) does not exceed, 0 when nothing was recorded.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := int64(q*float64(h.n)+0.5) - 1
	for i, c := range h.counts {
		if rank -= int64(c); rank < 0 && c > 0 {
			return min(time.Duration(upper(i)), h.max) //nolint:gosec // fits
		}
	}
	return h.max
}
