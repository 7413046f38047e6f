package load

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// inbox is what one device shows of its user's rooms without having joined any: docs/events.md, The inbox. An inbox:state replaces what is
// known; then room:activity says how rooms stand, and the user's log how far the user has read and by what it is mentioned.
type inbox struct {
	*user
	device int

	mu    sync.Mutex // guards all below
	told  bool       // an inbox:state has come by this connection
	rooms map[string]*listed
	useq  uint64          // of the last event of the log that the last inbox:state has in it: such may come after it
	facts []logFact       // behind that, which may have come before it
	shown []history.Inbox // in the end
}

// listed is how the inbox shows a room.
type listed struct {
	roomState

	at    uint64          // see history.InboxRoom
	named map[uint64]bool // messages that mention the user, as the log told since
}

// roomState is a room in inbox:state; room:activity has the first four.
type roomState struct {
	RoomID string `json:"roomId"`
	Seq    uint64 `json:"seq"`
	N      uint64 `json:"n"`
	Last   *struct {
		ID        string `json:"id"`
		Preview   string `json:"preview"`
		DeletedAt string `json:"deletedAt"`
	} `json:"last"`
	readState
}

// logFact is an event of the user's log that changes what the inbox shows.
type logFact struct {
	kind     string
	Useq     uint64 `json:"useq"`
	RoomID   string `json:"roomId"`
	Seq      uint64 `json:"seq"`
	N        uint64 `json:"n"`
	Mentions uint64 `json:"mentions"`
	At       uint64 `json:"at"`
	Room     struct {
		RoomID string `json:"roomId"`
	} `json:"room"` // of me:room-added
	Message shownMessage `json:"message"` // of me:mention
}

// As far as unread messages are counted, and those of them that mention the user.
const (
	mostUnread   = 1000
	mostMentions = 100
)

// lister is the application of a device with an inbox; it implements receiver.
type lister struct {
	log   *ownLog
	inbox *inbox
}

func (l lister) began(number int, recovered bool, lastDown history.Time) {
	l.log.began(number, recovered, lastDown)
	l.inbox.mu.Lock()
	defer l.inbox.mu.Unlock()
	l.inbox.told = false
}

func (l lister) event(e sioclient.Message, source history.Source) *receipt {
	l.inbox.event(e)
	return l.log.event(e, source)
}

// event takes in what an event says about the inbox.
func (b *inbox) event(e sioclient.Message) {
	if len(e.Args) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	switch e.Name {
	case "inbox:state":
		var state struct {
			Rooms []roomState `json:"rooms"`
			Useq  uint64      `json:"useq"`
		}
		if err = json.Unmarshal(e.Args[0], &state); err == nil {
			b.replaceLocked(state.Rooms, state.Useq)
		}
	case "room:activity":
		var a roomState
		if err = json.Unmarshal(e.Args[0], &a); err == nil {
			b.activityLocked(a)
		}
	case "me:room-added", "me:room-removed", "me:marker", "me:mention":
		f := logFact{kind: e.Name}
		if err = json.Unmarshal(e.Args[0], &f); err == nil && f.Useq > b.useq {
			b.facts = append(b.facts, f)
			b.applyLocked(&f)
		}
	}
	if err != nil {
		b.load.counters.fail("unreadable:" + e.Name)
		b.load.log.Error("unreadable event of an inbox", slog.String("event", e.Name), slog.String("user", b.id), slog.Any("error", err))
	}
}

// replaceLocked begins anew with an inbox:state, which has the log up to useq in it.
func (b *inbox) replaceLocked(rooms []roomState, useq uint64) {
	b.told, b.useq, b.rooms = true, useq, make(map[string]*listed, len(rooms))
	for _, room := range rooms {
		b.rooms[room.RoomID] = &listed{roomState: room, at: room.Seq}
	}
	var later []logFact
	for i := range b.facts {
		if f := &b.facts[i]; f.Useq > useq {
			later = append(later, *f)
			b.applyLocked(f)
		}
	}
	b.facts = later
}

func (b *inbox) activityLocked(a roomState) {
	r := b.rooms[a.RoomID]
	if index, known := b.load.roomByID[a.RoomID]; r == nil && known && !b.load.plan.isMember(b.index, index) {
		b.load.counters.fail("stray:activity of another room")
		b.load.log.Error("activity of a room in which the user never was", slog.String("user", b.id), slog.String("room", a.RoomID))
	}
	if r == nil || a.Seq <= r.Seq {
		return
	}
	r.Seq, r.N, r.Last = a.Seq, a.N, a.Last
	r.count()
}

// applyLocked takes in an event of the log.
func (b *inbox) applyLocked(f *logFact) {
	if f.kind == "me:room-added" {
		if b.rooms[f.Room.RoomID] == nil && b.rooms != nil {
			b.rooms[f.Room.RoomID] = &listed{}
		}
		return
	}
	r := b.rooms[f.RoomID]
	switch {
	case r == nil:
	case f.kind == "me:room-removed":
		delete(b.rooms, f.RoomID)
	case f.kind == "me:marker":
		r.Marker.Seq, r.Marker.N, r.Mentions, r.at, r.named = f.Seq, f.N, f.Mentions, f.At, nil
		r.count()
	case f.Message.Seq > r.Marker.Seq && f.Message.DeletedAt == "" && !r.named[f.Message.Seq]:
		if r.named == nil {
			r.named = make(map[uint64]bool)
		}
		r.named[f.Message.Seq] = true
		r.Mentions = min(r.Mentions+1, mostMentions)
	}
}

// count subtracts what is read from what there is.
func (r *listed) count() { r.Unread = min(max(r.N, r.Marker.N)-r.Marker.N, mostUnread) }

// settled says what is missing until the inbox has a state, and shows what was said last.
func (b *inbox) settled() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, r := range b.rooms {
		if index, known := b.load.roomByID[id]; known && r.Seq < b.load.said[index].Load() {
			return fmt.Errorf("an inbox of %s has %s at %d", b.id, id, r.Seq)
		}
	}
	if !b.told {
		return fmt.Errorf("an inbox of %s has no state", b.id)
	}
	return nil
}

// show writes down what the inbox shows.
func (b *inbox) show(fresh bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	is := history.Inbox{User: b.index, Device: b.device, Fresh: fresh}
	for index, id := range b.load.plan.rooms {
		r := b.rooms[id]
		if r == nil {
			continue
		}
		room := history.InboxRoom{Room: index, Seq: r.Seq, N: r.N, Unread: r.Unread, Mentions: r.Mentions, At: r.at}
		if r.Last != nil {
			room.Last, room.Lead, room.Deleted = r.Last.ID, history.Lead(r.Last.Preview), r.Last.DeletedAt != ""
		}
		is.Rooms = append(is.Rooms, room)
	}
	b.shown = append(b.shown, is)
}

func (b *inbox) into(h *history.History) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h.Inboxes = append(h.Inboxes, b.shown...)
}

// activityTime is how long the load waits for an inbox to show what was said, when all is quiet. One that does not is written down as it is.
const activityTime = 10 * time.Second

// inboxes writes down what the inboxes of a user's devices show by what they were told all along, and what that of a new device is told.
func (c *client) inboxes(ctx context.Context) {
	patience := func(d *device) {
		ctx, cancel := context.WithTimeout(ctx, activityTime)
		defer cancel()
		_ = c.user.load.await(ctx, 0, d.inbox.settled)
	}
	for _, d := range c.others {
		patience(d)
	}
	for _, d := range c.others {
		d.inbox.show(false)
	}
	c.newcomer = newDevice(c.user, c.tokens, len(c.others)+1)
	life, end := context.WithCancel(ctx)
	var task sync.WaitGroup
	task.Go(func() { c.newcomer.conn.run(life) })
	patience(c.newcomer)
	end()
	task.Wait()
	c.newcomer.inbox.show(true)
}
