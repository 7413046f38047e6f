package load

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/roomstate"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// What a client keeps of a room is what docs/events.md tells clients to keep: facts are merged by their versions, as package roomstate does it.
// After a connection that was not recovered message:history brings the messages that were missed, and message:changes what became of
// older ones.

// seenEvent is a durable event as it came.
type seenEvent struct {
	seq, hash, body, version uint64
	source                   history.Source
	name                     string
	argument                 json.RawMessage
	message                  *chatMessage // that it shows; nil: none
}

// seenMessage is an event for a message:new, or a message of a history.
func seenMessage(e sioclient.Message, m *chatMessage, source history.Source) seenEvent {
	return seenEvent{
		seq: m.Seq, hash: history.EventHash(e.Name, m.Seq, m.Sender.ID, m.ID, ""), body: history.Hash(m.Content), version: m.version(),
		source: source, name: e.Name, argument: e.Args[0], message: m,
	}
}

// seenFact is an event for what happened to a message.
func seenFact(e sioclient.Message, f *fact, source history.Source) seenEvent {
	s := seenEvent{seq: f.Seq, source: source, name: e.Name, argument: e.Args[0]}
	if f.Message.ID == "" {
		s.hash = history.EventHash(e.Name, f.Seq, "", f.MessageID, string(e.Args[0]))
		return s
	}
	s.hash, s.message = history.EventHash(e.Name, f.Seq, "", f.Message.ID, ""), &f.Message
	s.body, s.version = history.Hash(f.Message.Content), f.Message.version()
	return s
}

// Bounds of what a client keeps of a room.
const (
	mostMessages  = 4000 // of which the older half is forgotten then; a run of a minute has fewer
	recentTargets = 32
)

// kept is what a client keeps of a room's messages. It is guarded by rooms.mu.
type kept struct {
	state  *roomstate.Room
	since  uint64   // all messages with a higher seq are there
	seqs   []uint64 // of the messages, ascending
	recent []target // the last messages, as far as they can be acted on

	// stale: what has become of messages after the sequence changedAfter may be unknown.
	stale        bool
	changedAfter uint64

	own, head numbered // the last message of the user's own, and of anybody
}

// numbered is a message by its numbers.
type numbered struct{ seq, n uint64 }

// target is a message that something can be done with.
type target struct {
	id   string
	seq  uint64
	mine bool
}

func newKept(since uint64) kept { return kept{state: roomstate.NewCompact(), since: since} }

// resumeLocked prepares for what a join brings: it begins anew, or it goes on.
func (rs *rooms) resumeLocked(r *room) {
	if r.opening.Since > 0 {
		if !r.stale {
			r.stale, r.changedAfter = true, r.opening.Since
		}
		return
	}
	r.kept = newKept(r.opening.Head)
	if len(r.history) > 0 {
		r.since = r.history[0].Seq - 1
	}
}

// keepLocked merges an event into what is known.
func (rs *rooms) keepLocked(r *room, e seenEvent) {
	var err error
	switch {
	case e.message != nil:
		rs.knowLocked(r, e.message)
		err = r.state.Whole(e.message.raw)
	case e.argument != nil:
		err = r.state.Apply(e.name, e.argument)
	}
	if err != nil {
		rs.load.counters.fail("unreadable:" + e.name)
		rs.load.log.Error("unreadable message", slog.Any("error", err))
	}
}

// knowLocked notes a message that came, maybe again.
func (rs *rooms) knowLocked(r *room, m *chatMessage) {
	at, known := slices.BinarySearch(r.seqs, m.Seq)
	if !known && m.Seq > r.since {
		if r.seqs = slices.Insert(r.seqs, at, m.Seq); len(r.seqs) > mostMessages {
			r.since = r.seqs[mostMessages/2]
			r.seqs = slices.Delete(r.seqs, 0, mostMessages/2+1)
			r.state.Forget(r.since)
		}
	}
	mine := m.Sender.ID == rs.id
	if m.Seq > r.head.seq {
		r.head = numbered{m.Seq, m.N}
		r.recent = append(r.recent, target{m.ID, m.Seq, mine})
		r.recent = r.recent[max(0, len(r.recent)-recentTargets):]
	}
	if mine && m.Seq > r.own.seq {
		r.own = numbered{m.Seq, m.N}
	}
	if m.DeletedAt != "" {
		r.recent = slices.DeleteFunc(r.recent, func(t target) bool { return t.seq == m.Seq })
	}
}

// changesArgument is the argument of message:changes.
type changesArgument struct {
	RoomID string `json:"roomId"`
	Since  uint64 `json:"since"`
}

// fetchChanges gets a page of what has become of messages while the client was away.
func (rs *rooms) fetchChanges(ctx context.Context, r *room) (wait time.Duration) {
	rs.mu.Lock()
	arg := changesArgument{r.id, r.changedAfter}
	view := r.view
	rs.mu.Unlock()
	k, err := rs.conn.invoke("message:changes", arg, func(_ call, a answer) {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		if !a.OK || r.phase != open || r.view != view || r.changedAfter != arg.Since {
			return
		}
		for i := range a.Messages {
			m := &a.Messages[i]
			if m.Seq > r.since {
				rs.keepLocked(r, seenEvent{name: "message:changes", message: m})
			}
		}
		r.changedAfter, r.stale = max(r.changedAfter, a.UpTo), a.HasMore
	})
	if err != nil {
		return rs.jitter(minRetry, maxRetry)
	}
	return rs.failed("message:changes", rs.conn.await(ctx, k))
}

// survey writes down what is known of the rooms in which the client is.
func (rs *rooms) survey() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.order {
		if r.want && r.phase == open && !r.stale {
			rs.states = append(rs.states, stateOf(rs.index, r.index, history.KeptLive, r.since, r.state))
		}
	}
}

func stateOf(user, room int, how string, since uint64, state *roomstate.Room) history.State {
	s := history.State{User: user, Room: room, Kept: how, Since: since}
	for _, d := range state.Digests() {
		if d.Seq > since {
			s.Messages = append(s.Messages, history.Digest{Hash: d.Hash, Seq: uint32(d.Seq), Version: uint32(d.Version)}) //nolint:gosec // no run has 2^32 events in a room
		}
	}
	return s
}
