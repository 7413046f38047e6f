package inbox

import (
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/subject"
)

// room is a room in an inbox of this gateway. Inbox.mu guards it.
type room struct {
	id      string
	members []*member
	seq     uint64    // of what was told last
	next    time.Time // before then nothing is told
	args    []byte    // of what is to be told then; nil = nothing
}

// What follows is for callers that hold Inbox.mu.

// of gives the sockets of a user that have an inbox.
func (b *Inbox) of(userID string) []*member {
	var list []*member
	for _, s := range b.registry.User(userID) {
		if m := b.sockets[s]; m != nil {
			list = append(list, m)
		}
	}
	return list
}

// ask has a worker fill a socket's inbox; what is being asked for the socket already is old.
func (b *Inbox) ask(m *member) {
	m.epoch++
	if m.queued {
		m.again = true
		return
	}
	m.queued, m.at = true, time.Time{}
	b.due = append(b.due, m) // each socket once
}

// end ends the inbox of a socket.
func (b *Inbox) end(m *member) {
	m.ended = true
	for _, r := range m.rooms {
		b.detach(m, r)
	}
	m.rooms = nil
	delete(b.sockets, m.socket)
	b.open.Add(-1)
	b.stats.Inboxes.Set(float64(len(b.sockets)))
}

// drop takes a room out of a socket's inbox.
func (b *Inbox) drop(m *member, roomID string) {
	i := slices.IndexFunc(m.rooms, func(r *room) bool { return r.id == roomID })
	if i >= 0 {
		b.detach(m, m.rooms[i])
		m.rooms = slices.Delete(m.rooms, i, i+1)
	}
}

// detach ends the interest of a socket in a room, but for the socket's own list.
func (b *Inbox) detach(m *member, r *room) {
	i := slices.Index(r.members, m)
	last := len(r.members) - 1
	r.members[i] = r.members[last]
	r.members[last] = nil
	r.members = r.members[:last]
	b.count(-1)
	if len(r.members) > 0 {
		return
	}
	delete(b.rooms, r.id)
	delete(b.waiting, r)
	sh := &b.shards[subject.RoomShard(r.id)]
	if sh.rooms--; sh.rooms == 0 {
		_ = sh.sub.Unsubscribe() // a closed connection hears nothing either
		sh.sub = nil
	}
}

func (b *Inbox) count(links int) {
	b.links += links
	b.stats.InboxRooms.Set(float64(b.links))
}

// setRooms makes the rooms of a socket's inbox those with the ids, as far as there may be so many here. It gives those that are new to it.
// An error says that the bus does not take the subscription of a shard; the rooms that the socket has by then stay.
func (b *Inbox) setRooms(m *member, ids []string) (added map[string]bool, err error) {
	had := make(map[string]*room, len(m.rooms))
	for _, r := range m.rooms {
		had[r.id] = r
	}
	rooms := make([]*room, 0, len(ids)) // no larger than needed: there are many
	added = map[string]bool{}
	for _, id := range ids {
		r := had[id]
		if r != nil {
			delete(had, id)
			rooms = append(rooms, r)
			continue
		}
		if b.links >= b.cfg.Most || err != nil {
			continue
		}
		if r, err = b.room(id); err != nil {
			continue
		}
		r.members = append(r.members, m)
		b.count(1)
		rooms, added[id] = append(rooms, r), true
	}
	for _, r := range had {
		b.detach(m, r)
	}
	m.rooms = rooms
	return added, err
}

// room finds or makes a room, whose shard is heard from then on.
func (b *Inbox) room(id string) (*room, error) {
	if r := b.rooms[id]; r != nil {
		return r, nil
	}
	n := subject.RoomShard(id)
	sh := &b.shards[n]
	if sh.sub == nil {
		sub, err := b.nc.ChanSubscribe(subject.Activity(n), b.heard)
		if err != nil {
			return nil, err
		}
		sh.sub = sub
	}
	sh.rooms++
	r := &room{id: strings.Clone(id)}
	b.rooms[r.id] = r
	return r, nil
}

// roomOf reads the roomId of the first argument; "" = there is none.
func roomOf(args []byte) string {
	arg, ok := rawjson.First(args)
	if !ok {
		return ""
	}
	raw, ok := rawjson.Field(arg, "roomId")
	if !ok {
		return ""
	}
	id, _ := rawjson.Unquote(raw)
	return id
}
