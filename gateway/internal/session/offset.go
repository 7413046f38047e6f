package session

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"
	"sync"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

// Offsets is what a socket has been sent of each of its rooms. It goes out at the end of every durable event, as the offset
// of connection state recovery, and comes back with the next CONNECT: an exact account, whatever order the rooms' events
// came in, and without a stream position that a repair or an outage would make doubtful.
//
//	"o1." + base64url( uvarint 0, uvarint epoch and generation; for each room: uvarint number, uvarint sequence )
//
// Rooms are numbered from 1 as the socket enters them, so that the offset stays short; the state in the bus knows the names.
// Official clients keep the last offset of an earlier socket when they get a fresh one: the epoch tells it apart. The generation
// counts how often the socket entered or left a room, so that a state in the bus that is older than the client's is known for one.
type Offsets struct {
	epoch uint32 // 0: none, and none goes out
	next  uint32 // guarded by mu; it stands here because it fits

	mu         sync.Mutex // guards what follows, and the order of what is queued
	generation uint64
	rooms      []roomOffset
}

type roomOffset struct {
	index uint32
	seq   uint64
}

const offsetPrefix = "o1."

// NewOffsets makes the offsets of a socket that can be recovered by pid.
func NewOffsets(pid string) *Offsets {
	return &Offsets{epoch: uint32(OffsetEpoch(pid))} //nolint:gosec // it has 21 bits
}

// SetGeneration notes that the socket entered or left a room.
func (o *Offsets) SetGeneration(generation uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.generation = generation
}

// SplitEpoch takes apart what ParseOffset gives for number 0.
func SplitEpoch(n uint64) (epoch, generation uint64) {
	return n & (1<<(epochBits+1) - 1), n >> (epochBits + 1)
}

// OffsetEpoch is the epoch of the socket that can be recovered by pid.
func OffsetEpoch(pid string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(pid)) // never fails
	return h.Sum64()&(1<<epochBits-1) | 1<<epochBits
}

// epochBits and a leading one are the most that takes three bytes.
const epochBits = 20

// Reserve keeps a number from being given to a room: an offset that the client still has may tell of the one that had it.
func (o *Offsets) Reserve(index uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next = max(o.next, index)
}

// Enter numbers a room that the socket enters.
func (o *Offsets) Enter() uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next++
	return o.next
}

// Set notes what the socket has seen of a room.
func (o *Offsets) Set(index uint32, seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.setLocked(index, seq)
	o.next = max(o.next, index)
}

func (o *Offsets) setLocked(index uint32, seq uint64) {
	for i := range o.rooms {
		if o.rooms[i].index == index {
			o.rooms[i].seq = max(o.rooms[i].seq, seq)
			return
		}
	}
	o.rooms = append(o.rooms, roomOffset{index, seq})
}

// Leave forgets a room.
func (o *Offsets) Leave(index uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rooms = slices.DeleteFunc(o.rooms, func(r roomOffset) bool { return r.index == index })
}

// suffixing is what queueRun works with.
type suffixing struct {
	raw   []byte // an offset before base64
	bytes []byte // the suffixes
	run   []transport.Suffixed
}

// suffixings serve all sockets: a run of events goes to each member of a room in turn.
var suffixings = sync.Pool{New: func() any { return new(suffixing) }} //nolint:gochecknoglobals // see above

// keepSuffixing is how many suffixes' room goes back into the pool.
const keepSuffixing = 512

// queueRun queues events, each durable one and each that asks for it with the offset in place of its closing bracket: ,"<offset>"]
func (o *Offsets) queueRun(conn transport.Conn, index uint32, events []Outgoing) (taken int) {
	s := suffixings.Get().(*suffixing)
	o.mu.Lock()
	for _, e := range events {
		if e.Seq != 0 {
			o.setLocked(index, e.Seq)
		}
		var suffix []byte
		if e.Seq != 0 || e.Message.WithOffset() {
			start := len(s.bytes)
			o.appendSuffixLocked(s)
			suffix = s.bytes[start:]
		}
		s.run = append(s.run, transport.Suffixed{Message: e.Message, Suffix: suffix})
	}
	taken = conn.QueueRun(s.run)
	o.mu.Unlock()
	clear(s.run)
	if cap(s.run) <= keepSuffixing {
		s.bytes, s.run = s.bytes[:0], s.run[:0]
		suffixings.Put(s)
	}
	return taken
}

func (o *Offsets) appendSuffixLocked(s *suffixing) {
	raw := s.raw[:0]
	if o.epoch != 0 {
		raw = binary.AppendUvarint(append(raw, 0), o.generation<<(epochBits+1)|uint64(o.epoch))
	}
	for _, r := range o.rooms {
		raw = binary.AppendUvarint(binary.AppendUvarint(raw, uint64(r.index)), r.seq)
	}
	s.raw = raw
	s.bytes = base64.RawURLEncoding.AppendEncode(append(s.bytes, `,"`+offsetPrefix...), raw)
	s.bytes = append(s.bytes, `"]`...)
}

// ParseOffset reads an offset that a client brought back: room number → sequence, and 0 → epoch. ok is false for what is not
// ours.
func ParseOffset(offset string) (seqs map[uint32]uint64, ok bool) {
	encoded, ok := strings.CutPrefix(offset, offsetPrefix)
	if !ok || len(encoded) > maxOffset {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, false
	}
	seqs = make(map[uint32]uint64)
	for len(raw) > 0 {
		index, n := binary.Uvarint(raw)
		if n <= 0 || index > 1<<32-1 {
			return nil, false
		}
		seq, m := binary.Uvarint(raw[n:])
		if m <= 0 {
			return nil, false
		}
		seqs[uint32(index)] = seq
		raw = raw[n+m:]
	}
	return seqs, true
}

// maxOffset bounds the offset of a socket in very many rooms.
const maxOffset = 16 << 10
