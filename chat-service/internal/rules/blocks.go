package rules

import (
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/fault"
)

// Who blocked another user opens no direct room with it, nor does the other one. In the direct room of the two nobody speaks: they are
// muted there, which nobody else is in a direct room, so that writing a message asks for nothing more than it did.

// Pair is a user and whom it blocked.
type Pair struct{ User, Blocked chat.UserID }

func (p Pair) reverse() Pair { return Pair{p.Blocked, p.User} }

// Block has a user block another one, or ends that. Its Room is that of the two, whether there is one or not.
type Block struct {
	Origin

	Who chat.UserID
	End bool
}

// ChangedBlock is a Pair that is from now on, or no longer.
type ChangedBlock struct {
	Pair

	End bool
}

func (c Block) pair() Pair { return Pair{c.User, c.Who} }

func (c Block) need(n *Needs) {
	needBoth(n, c.Origin, c.Who)
	n.Create = append(n.Create, c.Room) // so that it can be locked, against somebody who opens it
	n.Blocks = append(n.Blocks, c.pair(), c.pair().reverse())
}

func (c Block) decide(b *batch) Outcome {
	if b.blocked(c.pair()) != c.End {
		return Outcome{}
	}
	if b.blocks == nil {
		b.blocks = map[Pair]bool{}
	}
	b.blocks[c.pair()] = !c.End
	b.changes.Blocks = append(b.changes.Blocks, ChangedBlock{c.pair(), c.End})
	until := access.Forever()
	if !b.blocked(c.pair()) && !b.blocked(c.pair().reverse()) {
		until = time.Time{}
	}
	if b.room(c.Room) != nil {
		for _, user := range []chat.UserID{c.User, c.Who} {
			b.change(chat.Membership{Room: c.Room, User: user}).MutedUntil = until
		}
	}
	return Outcome{Changed: true}
}

// blocked tells whether a user blocks another one by now.
func (b *batch) blocked(p Pair) bool {
	if blocked, changed := b.blocks[p]; changed {
		return blocked
	}
	return b.state.Blocks[p]
}

// pairs are those between whom a block matters to a new direct room: whoever opens it and each of the others, or, where a backend opens the room
// of two as itself, these two.
func (c Open) pairs() (pairs []Pair) {
	switch {
	case c.User != chat.System:
		for _, other := range c.Others {
			pairs = append(pairs, Pair{c.User, other.User})
		}
	case len(c.Others) == 2:
		pairs = append(pairs, Pair{c.Others[0].User, c.Others[1].User})
	}
	return pairs
}

// anyBlocked tells whether there is a block, either way, between one of the pairs.
func (b *batch) anyBlocked(pairs []Pair) bool {
	return slices.ContainsFunc(pairs, func(p Pair) bool { return b.blocked(p) || b.blocked(p.reverse()) })
}

// ErrSelfBlock refuses a user who would block itself.
func ErrSelfBlock() error { return fault.New(fault.Invalid, "userId must be another user's") }

var _ Command = Block{}
