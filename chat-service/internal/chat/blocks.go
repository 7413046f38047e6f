package chat

import (
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/proto/fault"
)

// Who blocked another user opens no direct room with it, nor does the other one. In the direct room of the two nobody speaks: they are
// muted there, which nobody else is in a direct room, so that writing a message asks for nothing more than it did.

// Pair is a user and whom it blocked.
type Pair struct{ User, Blocked UserID }

func (p Pair) reverse() Pair { return Pair{p.Blocked, p.User} }

// Block has a user block another one, or ends that. Its Room is that of the two, whether there is one or not.
type Block struct {
	Origin

	Who UserID
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
		for _, user := range []UserID{c.User, c.Who} {
			b.change(Membership{c.Room, user}).MutedUntil = until
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

// needBlocks asks for what there is between a user and others, either way.
func needBlocks(n *Needs, user UserID, others []Invited) {
	for _, other := range others {
		p := Pair{user, other.User}
		n.Blocks = append(n.Blocks, p, p.reverse())
	}
}

// refuseBlocked refuses a user who blocks one of the others, or is blocked.
func (b *batch) refuseBlocked(user UserID, others []Invited) error {
	for _, other := range others {
		if p := (Pair{user, other.User}); b.blocked(p) || b.blocked(p.reverse()) {
			return access.Blocked()
		}
	}
	return nil
}

// ErrSelfBlock refuses a user who would block itself.
func ErrSelfBlock() error { return fault.New(fault.Invalid, "userId must be another user's") }

var _ Command = Block{}
