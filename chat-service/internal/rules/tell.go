package rules

import (
	"maps"
	"slices"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// What a batch tells users' logs stands in this file.

// A log keeps its last facts, KeptFacts and up to trimEvery more, and of those before them as many that no later one has replaced. A user's devices that
// were away for longer begin anew.
const (
	KeptFacts = 1000
	trimEvery = 100
)

// ChangedLog is the new state of a user's log.
type ChangedLog struct {
	User chat.UserID
	Seq  uint64 // of the last fact
	Trim uint64 // facts up to this one are to be thinned out; 0 = none
}

// telling is a fact for a user's log. It is told when the batch is decided, so that it shows the room as the batch leaves it.
type telling struct {
	user chat.UserID
	o    Origin
	r    *changingRoom // of an added room
	fact chat.Fact     // RoomAdded has no room yet
}

// tell notes a fact for a user's log, which has to be in Needs.Logs.
func (b *batch) tell(user chat.UserID, o Origin, r *changingRoom, fact chat.Fact) {
	b.tellings = append(b.tellings, telling{user, o, r, fact})
}

// Farewell tells members of a room that was deleted of it. logs are the last sequences of their logs.
func Farewell(room chat.RoomID, logs map[chat.UserID]uint64) Changes {
	b := &batch{state: &State{Logs: logs}}
	for _, user := range slices.Sorted(maps.Keys(logs)) {
		b.tell(user, Origin{}, nil, chat.RoomRemoved{Room: room, Reason: chat.LeftDeleted})
	}
	b.tellAll()
	return b.changes
}

// tellAll numbers the facts for users' logs.
func (b *batch) tellAll() {
	if len(b.tellings) == 0 {
		return
	}
	seqs := make(map[chat.UserID]uint64, len(b.tellings))
	var users []chat.UserID
	for _, t := range b.tellings {
		seq, known := seqs[t.user]
		if !known {
			seq, users = b.state.Logs[t.user], append(users, t.user)
		}
		seqs[t.user] = seq + 1
		if added, ok := t.fact.(chat.RoomAdded); ok {
			added.Room = b.info(t.o.Room, t.r)
			t.fact = added
		}
		b.changes.Told = append(b.changes.Told, chat.RoomEvent{Room: chat.LogOf(t.user), Seq: seq + 1, Fact: t.fact, CausedAt: t.o.CausedAt})
	}
	for _, user := range users {
		log := ChangedLog{User: user, Seq: seqs[user]}
		if log.Seq/trimEvery > b.state.Logs[user]/trimEvery && log.Seq > KeptFacts {
			log.Trim = log.Seq - KeptFacts
		}
		b.changes.Logs = append(b.changes.Logs, log)
	}
}

// info is what a room is by now.
func (b *batch) info(id chat.RoomID, r *changingRoom) chat.RoomInfo {
	info := b.state.Infos[id]
	if b.state.Fresh[id] {
		info = chat.RoomInfo{Room: id, Kind: r.Kind, CreatedAt: b.state.At}
	}
	if r.details != nil {
		info.RoomDetails = *r.details
	}
	info.Members = max(info.Members+r.grown, 0)
	return info
}
