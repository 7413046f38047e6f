package load

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// Sizes of messages, and how they come.
const (
	minContent = 50
	maxContent = 400
	// Large messages go to the hot room, so that the send queues of its members who do not read fill up.
	largeContent = 6000
	largePercent = 20
	// What messages have beside their contents. The whole room is mentioned by moderators alone.
	replyPercent    = 25
	mentionPercent  = 20
	everyonePercent = 10
	maxMentioned    = 3

	burstPercent = 25 // of the times a sender sends, it sends several at once
)

// generate queues messages at the rate until ctx ends, whatever becomes of them.
func (l *Load) generate(ctx context.Context) {
	r := random(l.cfg.Seed, streamGenerator)
	const burst = (100.0-burstPercent)/100 + burstPercent/100.0*3 // messages at a time, on average
	next := time.Now()
	for {
		next = next.Add(time.Duration(r.ExpFloat64() * burst / float64(l.cfg.Rate) * float64(time.Second)))
		if wait := time.Until(next); wait > 0 && pause(ctx, wait) != nil || ctx.Err() != nil {
			return
		}
		index := 0
		if len(l.plan.rooms) > 1 && r.IntN(100) >= hotPercent {
			index = 1 + r.IntN(len(l.plan.rooms)-1)
		}
		members := l.plan.members[index]
		c := l.clients[members[r.IntN(len(members))]]
		if c.user.role.listener {
			continue
		}
		count, inHand := 1, 1
		if r.IntN(100) < burstPercent {
			count = 2 + r.IntN(maxInFlight-1)
			inHand = maxInFlight
		}
		for range count {
			m := &message{room: c.rooms.byID[l.plan.rooms[index]], filler: filler(r, index == 0 && r.IntN(100) < largePercent), inHand: inHand, reply: -1}
			if r.IntN(100) < replyPercent {
				m.reply = r.IntN(recentTargets)
			}
			m.asides = l.mentioned(r, index)
			m.asides.Everyone = l.plan.moderates(c.user.index, index) && r.IntN(100) < everyonePercent
			c.sender.offer(m)
		}
	}
}

// mentioned picks whom a message mentions, of those who may be in the room: mostly nobody.
func (l *Load) mentioned(r *rand.Rand, room int) (a history.Asides) {
	if r.IntN(100) >= mentionPercent {
		return a
	}
	members := l.plan.members[room]
	for _, i := range r.Perm(len(members))[:min(1+r.IntN(maxMentioned), len(members))] {
		a.Mentions = append(a.Mentions, members[i])
	}
	return a
}

// filler makes random text, of what JSON and UTF-8 have to be careful with among other things.
func filler(r *rand.Rand, large bool) string {
	alphabet := []rune(`abcdefghijklmnopqrstuvwxyz      "\/<>&` + "\n\té茶😀\u2028")
	size := minContent + r.IntN(maxContent-minContent-len("u0123456789abcdef-000 #1000000 "))
	if large {
		size = largeContent
	}
	b := make([]byte, 0, size+4)
	for len(b) < size {
		b = append(b, string(alphabet[r.IntN(len(alphabet))])...)
	}
	return string(b)
}
