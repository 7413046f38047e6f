package presence

import (
	"slices"
	"time"
)

// maxBuffered bounds the deltas kept per gateway while its snapshot is awaited; the oldest go first, since the snapshot
// is the likeliest to cover them. A hole that this leaves only costs another snapshot.
const maxBuffered = 1024

// gateway is one incarnation's picture. Owned by the Registry, under its lock.
type gateway struct {
	id          GatewayID
	incarnation int64
	version     uint64
	digest      uint64
	sockets     map[SocketID]*user
	awaiting    bool    // a snapshot is needed; deltas go to buffered meanwhile
	buffered    []Delta // at most maxBuffered, in order of arrival
	heardFirst  time.Time
	heard       time.Time // last delta or lease
}

func (g *gateway) buffer(d Delta) {
	if len(g.buffered) == maxBuffered {
		g.buffered = slices.Delete(g.buffered, 0, maxBuffered/8)
	}
	g.buffered = append(g.buffered, d)
}

// agrees tells whether a lease of the same version sums up what is known.
func (g *gateway) agrees(l Lease) bool {
	return int(l.Sockets) == len(g.sockets) && l.Digest == g.digest
}

// HashSocket is the FNV-1a 64-bit hash of a socket id, as in PresenceLease.digest.
func HashSocket(id SocketID) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * prime
	}
	return h
}
