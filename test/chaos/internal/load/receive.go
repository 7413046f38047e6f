package load

import (
	"encoding/json"
	"log/slog"
	"slices"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// began implements receiver: a connection that does not carry on the one before ends the views.
func (rs *rooms) began(number int, recovered bool, lastDown history.Time) {
	rs.log.began(number, recovered, lastDown)
	rs.mu.Lock()
	rs.number = number
	if !recovered && number > 1 {
		rs.endViewsLocked(lastDown)
	}
	rs.mu.Unlock()
	rs.wake()
}

// event implements receiver.
func (rs *rooms) event(e sioclient.Message, source history.Source) *receipt {
	if ofLog(e.Name) {
		return rs.log.event(e, source)
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(e.Args) == 0 {
		return nil
	}
	var err error
	var read *receipt
	switch e.Name {
	case "message:new":
		var m chatMessage
		if err = json.Unmarshal(e.Args[0], &m); err == nil {
			rs.durableLocked(m.RoomID, seenMessage(e, &m, source))
			read = rs.receiptLocked(m)
		}
	case "message:edited", "message:deleted", "message:reactions", "message:pinned", "message:unpinned":
		var f fact
		if err = json.Unmarshal(e.Args[0], &f); err == nil {
			rs.durableLocked(f.RoomID, seenFact(e, &f, source))
		}
	case "room:user-joined", "room:user-left":
		var m membership
		if err = json.Unmarshal(e.Args[0], &m); err == nil {
			rs.durableLocked(m.RoomID, seenEvent{seq: m.Seq, hash: history.EventHash(e.Name, m.Seq, m.UserID, "", ""), source: source})
		}
	case "room:history":
		var page []chatMessage
		if err = json.Unmarshal(e.Args[0], &page); err == nil {
			rs.historyLocked(page)
		}
	case "users:online":
		if rs.role.observer {
			var ids []string
			if err = json.Unmarshal(e.Args[0], &ids); err == nil {
				rs.onlineLocked(ids)
			}
		}
	case "event:error":
		var f struct {
			Event string `json:"event"`
			Code  string `json:"code"`
		}
		if err = json.Unmarshal(e.Args[0], &f); err == nil {
			rs.load.counters.fail(f.Event + ":" + f.Code)
		}
	}
	if err != nil {
		rs.load.counters.fail("unreadable:" + e.Name)
		rs.load.log.Error("unreadable event", slog.String("event", e.Name), slog.Int("conn", rs.number), slog.Any("error", err))
	}
	return read
}

// durableLocked records a durable event of a room, or buffers it.
func (rs *rooms) durableLocked(roomID string, e seenEvent) {
	r := rs.byID[roomID]
	if r == nil {
		rs.load.counters.fail("stray:" + "other room")
		rs.load.log.Error("event of a room that the client never joined", slog.String("user", rs.id), slog.String("room", roomID))
		if index, ok := rs.load.roomByID[roomID]; ok {
			rs.deliverLocked(&room{index: index, id: roomID}, e) // the checker has it that the user is no member
		}
		return
	}
	switch {
	case r.phase == catchingUp || r.phase == outside && r.entering:
		r.buffered = append(r.buffered, e)
	case r.repeated && (r.phase == outside || r.phase == left && r.want):
		// See the package comment: the room:join that is under way brings it again.
	default:
		rs.deliverLocked(r, e)
	}
}

func (rs *rooms) deliverLocked(r *room, e seenEvent) {
	rs.deliveries = append(rs.deliveries, history.Delivery{
		At: rs.now(), Hash: e.hash, Body: e.body,
		Version: uint32(e.version), //nolint:gosec // no run has 2^32 events in a room
		Seq:     uint32(e.seq),     //nolint:gosec // as above
		User:    int32(rs.index),   //nolint:gosec // hundreds
		Conn:    int32(rs.number),  //nolint:gosec // thousands
		Room:    int16(r.index),    //nolint:gosec // fifty
		Source:  e.source,
	})
	if r.phase == open {
		r.last = max(r.last, e.seq)
		rs.keepLocked(r, e)
	}
	rs.load.counters.delivered.Add(1)
	rs.load.heads[r.index].raise(e.seq)
	switch e.name {
	case "message:new", "message:edited", "message:deleted":
		rs.load.said[r.index].raise(e.seq)
	}
}

// historyLocked keeps a room:history until its join is acked. An empty one does not say of which room it is, and need not: a join begins with none.
func (rs *rooms) historyLocked(page []chatMessage) {
	if len(page) == 0 {
		return
	}
	if r := rs.byID[page[0].RoomID]; r != nil {
		r.history = page
	} else {
		rs.load.counters.fail("stray:" + "history of another room")
	}
}

func (rs *rooms) onlineLocked(ids []string) {
	o := history.Online{At: rs.now(), User: rs.index, Users: make([]int, 0, len(ids))}
	for _, id := range ids {
		if index, ok := rs.load.byID[id]; ok {
			o.Users = append(o.Users, index)
		}
	}
	slices.Sort(o.Users)
	rs.online = append(rs.online, o)
}

// receipt is the argument of message:read.
type receipt struct {
	RoomID    string `json:"roomId"`
	MessageID string `json:"messageId"`
}

// receiptEvery is how often a reader sends a receipt: once in so many messages.
const receiptEvery = 50

func (rs *rooms) receiptLocked(m chatMessage) *receipt {
	r := rs.byID[m.RoomID]
	if !rs.role.reader || r == nil || r.phase != open || m.Seq < r.lastRead+receiptEvery {
		return nil
	}
	r.lastRead = m.Seq
	return &receipt{m.RoomID, m.ID}
}
