package chat

import (
	"maps"
	"slices"
	"time"

	"github.com/starling-chat/starling/proto/limits"
)

// What happens to a user's own rooms is told to all devices of the user by a log, which is a room with an id of its own: its facts
// are numbered without holes, in the transaction that makes them true.

// LogOf is the id of a user's log. No client can name it.
func LogOf(user UserID) RoomID { return RoomID(limits.UserLog(string(user))) }

// UserOf tells whose log an id names; ok is false for that of any other room.
func UserOf(room RoomID) (user UserID, ok bool) {
	name, ok := limits.UserOfLog(string(room))
	return UserID(name), ok
}

// The facts of a user's log.
type (
	// RoomAdded is me:room-added.
	RoomAdded struct {
		Room RoomInfo
		By   UserID // who added the user, or opened the room; "" = the user itself
	}
	// RoomRemoved is me:room-removed.
	RoomRemoved struct {
		Room   RoomID
		Reason string // LeftBySelf, LeftRemoved, LeftBanned, LeftDeleted
	}
	// LogReset is me:reset: the log does not have what was asked for. It takes no number; its own is the log's head.
	LogReset struct{}
)

func (RoomAdded) fact()   {}
func (RoomRemoved) fact() {}
func (LogReset) fact()    {}

// Why a room is no longer one of the user's, beside LeftRemoved and LeftBanned.
const (
	LeftBySelf  = "left"
	LeftDeleted = "deleted"
)

// A log keeps its last facts only: keptFacts, and up to trimEvery more. A user's devices that were away for longer begin anew.
const (
	keptFacts = 1000
	trimEvery = 100
)

// ChangedLog is the new state of a user's log.
type ChangedLog struct {
	User UserID
	Seq  uint64 // of the last fact
	Trim uint64 // facts up to this one are to be deleted; 0 = none
}

// LogPage selects facts of a user's log: those after a sequence, up to another one (0 = the head), or those stored after a time.
type LogPage struct {
	After, To uint64
	Since     time.Time // zero = by sequence
	Limit     int
}

// Misses tells whether the log, which stands at head, does not have all of the page: it was trimmed, or never had it.
func (p *LogPage) Misses(head uint64, found []EncodedEvent) bool {
	switch {
	case !p.Since.IsZero():
		return false
	case p.After > head:
		return true
	case len(found) > 0:
		return found[0].Seq != p.After+1
	default:
		return p.After < head && (p.To == 0 || p.To > p.After)
	}
}

// Grown is whose logs have grown.
type Grown struct {
	Heads map[UserID]uint64
	Until time.Time // since of the next question
	More  bool
}

// GrownMargin is how long a fact may take from its time to its commit.
const GrownMargin = 6 * time.Second

// telling is a fact for a user's log. It is told when the batch is decided, so that it shows the room as the batch leaves it.
type telling struct {
	user UserID
	o    Origin
	r    *changingRoom // of an added room
	fact Fact          // RoomAdded has no room yet
}

// tell notes a fact for a user's log, which has to be in Needs.Logs.
func (b *batch) tell(user UserID, o Origin, r *changingRoom, fact Fact) {
	b.tellings = append(b.tellings, telling{user, o, r, fact})
}

// Farewell tells members of a room that was deleted of it. logs are the last sequences of their logs.
func Farewell(room RoomID, logs map[UserID]uint64) Changes {
	b := &batch{state: &State{Logs: logs}}
	for _, user := range slices.Sorted(maps.Keys(logs)) {
		b.tell(user, Origin{}, nil, RoomRemoved{Room: room, Reason: LeftDeleted})
	}
	b.tellAll()
	return b.changes
}

// tellAll numbers the facts for users' logs.
func (b *batch) tellAll() {
	if len(b.tellings) == 0 {
		return
	}
	seqs := make(map[UserID]uint64, len(b.tellings))
	var users []UserID
	for _, t := range b.tellings {
		seq, known := seqs[t.user]
		if !known {
			seq, users = b.state.Logs[t.user], append(users, t.user)
		}
		seqs[t.user] = seq + 1
		if added, ok := t.fact.(RoomAdded); ok {
			added.Room = b.info(t.o.Room, t.r)
			t.fact = added
		}
		b.changes.Told = append(b.changes.Told, RoomEvent{Room: LogOf(t.user), Seq: seq + 1, Fact: t.fact, CausedAt: t.o.CausedAt})
	}
	for _, user := range users {
		log := ChangedLog{User: user, Seq: seqs[user]}
		if log.Seq/trimEvery > b.state.Logs[user]/trimEvery && log.Seq > keptFacts {
			log.Trim = log.Seq - keptFacts
		}
		b.changes.Logs = append(b.changes.Logs, log)
	}
}

// info is what a room is by now.
func (b *batch) info(id RoomID, r *changingRoom) RoomInfo {
	info := b.state.Infos[id]
	if b.state.Fresh[id] {
		info = RoomInfo{Room: id, Kind: r.Kind, CreatedAt: b.state.At}
	}
	if r.details != nil {
		info.RoomDetails = *r.details
	}
	info.Members = max(info.Members+r.grown, 0)
	return info
}
