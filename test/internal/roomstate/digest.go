package roomstate

import (
	"encoding/json"
	"hash/fnv"
	"maps"
	"slices"
)

// Digest is the state of one message in a few bytes: two clients with the same digests show the same. What a message shows of one that it
// answers is left out, for that follows from the state of the other one.
type Digest struct {
	Seq     uint64
	Version uint64 // `changed ?? seq`
	Hash    uint64 // of all that there is to the message, `changed` apart
}

// NewCompact returns a Room that keeps hashes only. It has Digests, and no Messages.
func NewCompact() *Room { return &Room{messages: map[string]*entry{}, compact: true} }

// Digests gives the messages that are known as a whole, by sequence.
func (r *Room) Digests() []Digest {
	list := r.whole()
	digests := make([]Digest, len(list))
	for i, e := range list {
		const prime = 1099511628211
		var sum uint64
		for _, a := range []*aspect{&e.fixed, &e.body, &e.counts, &e.pin} {
			hash := a.hash
			if !r.compact {
				hash = hashOf(a.fields)
			}
			sum = sum*prime ^ hash
		}
		digests[i] = Digest{Seq: e.seq, Version: e.version(), Hash: sum}
	}
	return digests
}

// Forget drops the messages up to a sequence.
func (r *Room) Forget(upTo uint64) {
	maps.DeleteFunc(r.messages, func(_ string, e *entry) bool { return e.seq <= upTo })
}

// hashOf is the same for the same members, however their values are written.
func hashOf(fields Fields) uint64 {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		var value any
		if json.Unmarshal(fields[name], &value) != nil {
			continue // they were read from a message that could be read
		}
		if to, ok := value.(map[string]any); ok && name == "replyTo" {
			delete(to, "preview")
		}
		raw, _ := json.Marshal(value) // it came from JSON
		_, _ = h.Write([]byte(name))
		_, _ = h.Write([]byte{0})
		_, _ = h.Write(raw)
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}
