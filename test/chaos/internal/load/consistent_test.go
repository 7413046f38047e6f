package load

import (
	"testing"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

type place struct {
	room int
	seq  uint64
}

type pair struct{ user, room int }

// pass is one look at a history by itself, without the database: all that any client saw stands for it.
type pass struct {
	t        *testing.T
	h        *history.History
	hashes   map[place]uint64
	messages map[place]bool
	heads    []uint64

	views    map[pair][]*history.View // not yet entered
	view     map[pair]*history.View
	position map[pair]uint64
}

// consistent checks agreement, acks, and that every view is contiguous, without repeats, and at the room's head in the end.
func consistent(t *testing.T, h *history.History) {
	t.Helper()
	p := &pass{
		t: t, h: h, hashes: make(map[place]uint64), messages: make(map[place]bool), heads: make([]uint64, len(h.Rooms)),
		views: make(map[pair][]*history.View), view: make(map[pair]*history.View), position: make(map[pair]uint64),
	}
	p.agreement()
	p.acks()
	for i := range h.Views {
		v := &h.Views[i]
		p.views[pair{v.User, v.Room}] = append(p.views[pair{v.User, v.Room}], v)
		p.heads[v.Room] = max(p.heads[v.Room], v.Head)
	}
	for i := range h.Deliveries {
		p.deliver(&h.Deliveries[i])
	}
	p.ends()
	p.logs()
	p.states()
	p.inboxes()
}

// inboxes checks that what a device shows of rooms is what a new connection is told.
func (p *pass) inboxes() {
	type of struct{ user, room int }
	fresh, kept := make(map[of]history.InboxRoom), 0
	for _, is := range p.h.Inboxes {
		for _, r := range is.Rooms {
			if is.Fresh {
				fresh[of{is.User, r.Room}] = r
			}
		}
	}
	for _, is := range p.h.Inboxes {
		for _, r := range is.Rooms {
			want := fresh[of{is.User, r.Room}]
			if kept++; r.N != want.N || r.Last != want.Last || r.Lead != want.Lead || r.Deleted != want.Deleted {
				p.t.Errorf("device %d of user %d has %+v in its inbox, a new one %+v", is.Device, is.User, r, want)
			}
		}
	}
	if kept <= 2*len(fresh) {
		p.t.Errorf("inboxes show %d rooms, and those of new connections %d", kept, len(fresh))
	}
	answered, mentioned := 0, 0
	for _, s := range p.h.Sends {
		if s.Outcome == history.OK {
			answered, mentioned = answered+min(int(s.Asides.Reply), 1), mentioned+len(s.Asides.Mentions)
		}
	}
	if answered == 0 || mentioned == 0 {
		p.t.Errorf("%d messages answer others, and %d users are mentioned", answered, mentioned)
	}
}

// logs checks that every device heard its user's log from the beginning, one by one.
func (p *pass) logs() {
	heard := make(map[[2]int]uint64)
	for _, d := range p.h.Heard {
		if who := [2]int{d.User, d.Device}; d.Seq != heard[who]+1 {
			p.t.Errorf("%+v: was at %d of the log", d, heard[who])
		} else {
			heard[who] = d.Seq
		}
	}
	for user := range p.h.Users {
		if who := [2]int{user, 0}; heard[who] < uint64(1) {
			p.t.Errorf("user %d heard nothing of its log", user)
		}
	}
}

func (p *pass) agreement() {
	for i := range p.h.Deliveries {
		d := &p.h.Deliveries[i]
		at := place{int(d.Room), uint64(d.Seq)}
		if old, ok := p.hashes[at]; ok && old != d.Hash {
			p.t.Errorf("%+v: another event than others saw", *d)
		}
		p.hashes[at] = d.Hash
		p.messages[at] = p.messages[at] || d.Source == history.Joined
		p.heads[at.room] = max(p.heads[at.room], at.seq)
	}
}

func (p *pass) acks() {
	acked := make(map[string]uint64)
	for _, s := range p.h.Sends {
		if s.Outcome != history.OK {
			continue
		}
		if old, ok := acked[s.ID]; ok && old != s.Seq {
			p.t.Errorf("%+v: acked before with %d", s, old)
		}
		acked[s.ID] = s.Seq
		p.messages[place{s.Room, s.Seq}] = true
		if _, ok := p.hashes[place{s.Room, s.Seq}]; !ok {
			p.t.Errorf("%+v: acked and seen by nobody", s)
		}
	}
}

func (p *pass) deliver(d *history.Delivery) {
	who, seq := pair{int(d.User), int(d.Room)}, uint64(d.Seq)
	for next := p.views[who]; len(next) > 0 && next[0].Start <= d.At; next = p.views[who] {
		p.enter(who, next[0])
		p.views[who] = next[1:]
	}
	v := p.view[who]
	switch {
	case v == nil || v.End > 0 && d.At > v.End:
		p.t.Errorf("%+v: outside of a view", *d)
		return
	case seq <= p.position[who]:
		p.t.Errorf("%+v: was at %d", *d, p.position[who])
	case d.Source == history.Joined:
		if v.Since > 0 || p.position[who] > 0 {
			p.missing(who, seq-1, true)
		}
	default:
		if p.position[who] < v.Head {
			p.missing(who, v.Head, true)
			p.position[who] = v.Head
		}
		p.missing(who, seq-1, false)
	}
	p.position[who] = seq
}

// enter ends what was to come by the history of the view before, and starts at the join's since.
func (p *pass) enter(who pair, v *history.View) {
	if v.Since > 0 && p.position[who] < v.Since {
		p.missing(who, v.Since, true)
	}
	p.view[who], p.position[who] = v, v.Since
}

// missing looks for what the client should have seen between its position and upTo, included.
func (p *pass) missing(who pair, upTo uint64, messagesOnly bool) {
	for seq := p.position[who] + 1; seq <= upTo; seq++ {
		at := place{who.room, seq}
		hash, exists := p.hashes[at]
		if exists && (!messagesOnly || p.messages[at]) && !p.own(who.user, seq, hash) {
			p.t.Errorf("user %d in room %d missed %d after %d (messages only %t, view %+v)", who.user, who.room, seq, p.position[who],
				messagesOnly, *p.view[who])
		}
	}
}

// own tells a client's own joins and leaves, which it does not get.
func (p *pass) own(user int, seq, hash uint64) bool {
	id := p.h.Users[user].ID
	return hash == history.EventHash("room:user-joined", seq, id, "", "") || hash == history.EventHash("room:user-left", seq, id, "", "")
}

func (p *pass) ends() {
	for who, v := range p.view {
		for _, next := range p.views[who] {
			p.enter(who, next)
			v = next
		}
		if v.End == 0 && p.h.Users[who.user].Revoked == 0 {
			p.position[who] = max(p.position[who], v.Head)
			p.missing(who, p.heads[who.room], false)
		}
	}
}

// states checks that all who have a room have the same of it, and that there is somebody who read all of it.
func (p *pass) states() {
	type message struct {
		room int
		seq  uint32
	}
	first, strangers := make(map[message]history.Digest), 0
	for i := range p.h.States {
		s := &p.h.States[i]
		if s.Kept != history.KeptLive {
			strangers++
		}
		for _, d := range s.Messages {
			at := message{s.Room, d.Seq}
			if old, known := first[at]; known && old != d {
				p.t.Errorf("user %d (%s) has message %d of room %d as %+v, others as %+v", s.User, s.Kept, d.Seq, s.Room, d, old)
			}
			first[at] = d
		}
	}
	if want := 2 * len(p.h.Rooms); strangers != want {
		p.t.Errorf("%d times a room was read from its beginning, want %d", strangers, want)
	}
	kinds := make(map[string]int)
	for _, a := range p.h.Acts {
		if a.Outcome == history.OK {
			kinds[a.Kind]++
		}
	}
	for _, kind := range []string{"message:edit", "message:react"} {
		if kinds[kind] == 0 {
			p.t.Errorf("nobody has done %s: %v", kind, kinds)
		}
	}
	for _, b := range p.h.Badges {
		if b.Settled && b.Told > 0 && b.Read != b.N {
			p.t.Errorf("%+v: what the device was told is not what the list says", b)
		}
	}
}
