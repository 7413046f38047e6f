package load

import (
	"encoding/json"
	"log/slog"
	"slices"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

func (c *client) receive(cn *conn, e sioclient.Message) {
	c.mu.Lock()
	read := c.receiveLocked(cn, e, history.Live)
	c.mu.Unlock()
	if read != nil {
		c.emitRead(cn, *read)
	}
}

// receiveLocked gives an event to the application. It returns a receipt to be sent, if any.
func (c *client) receiveLocked(cn *conn, e sioclient.Message, source history.Source) *receipt {
	c.session.Received(e)
	if len(e.Args) == 0 {
		return nil
	}
	var err error
	var read *receipt
	switch e.Name {
	case "message:new":
		var m chatMessage
		if err = json.Unmarshal(e.Args[0], &m); err == nil {
			hash := history.EventHash(e.Name, m.Seq, m.Sender.ID, m.ID, m.Content)
			c.durableLocked(m.RoomID, m.Seq, hash, source)
			read = c.receiptLocked(m)
		}
	case "room:user-joined", "room:user-left":
		var m membership
		if err = json.Unmarshal(e.Args[0], &m); err == nil {
			c.durableLocked(m.RoomID, m.Seq, history.EventHash(e.Name, m.Seq, m.UserID, "", ""), source)
		}
	case "room:history":
		var page []chatMessage
		if err = json.Unmarshal(e.Args[0], &page); err == nil {
			c.historyLocked(page)
		}
	case "users:online":
		if c.role.observer {
			var ids []string
			if err = json.Unmarshal(e.Args[0], &ids); err == nil {
				c.onlineLocked(ids)
			}
		}
	case "event:error":
		var f struct {
			Event string `json:"event"`
			Code  string `json:"code"`
		}
		if err = json.Unmarshal(e.Args[0], &f); err == nil {
			c.load.counters.fail(f.Event + ":" + f.Code)
		}
	}
	if err != nil {
		c.load.counters.fail("unreadable:" + e.Name)
		c.load.log.Error("unreadable event", slog.String("event", e.Name), slog.Int("conn", cn.number), slog.Any("error", err))
	}
	return read
}

// durableLocked takes a durable event of a room.
func (c *client) durableLocked(roomID string, seq, hash uint64, source history.Source) {
	r := c.rooms[roomID]
	if r == nil {
		c.load.counters.fail("stray:" + "other room")
		c.load.log.Error("event of a room that the client never joined", slog.String("user", c.id), slog.String("room", roomID))
		if index, ok := c.load.roomByID[roomID]; ok {
			c.deliverLocked(&room{index: index, id: roomID}, seq, hash, source) // the checker has it that the user is no member
		}
		return
	}
	switch {
	case r.phase == catching:
		r.held = append(r.held, heldEvent{seq, hash, source})
	case r.repeated && (r.phase == outside || r.phase == left && r.want):
		// See the package comment: the room:join that is under way brings it again.
	default:
		c.deliverLocked(r, seq, hash, source)
	}
}

func (c *client) deliverLocked(r *room, seq, hash uint64, source history.Source) {
	c.deliveries = append(c.deliveries, history.Delivery{
		At: c.now(), Hash: hash,
		Seq:    uint32(seq),         //nolint:gosec // no run has 2^32 events in a room
		User:   int32(c.index),      //nolint:gosec // hundreds
		Conn:   int32(len(c.conns)), //nolint:gosec // thousands
		Room:   int16(r.index),      //nolint:gosec // fifty
		Source: source,
	})
	if r.phase == open {
		r.last = max(r.last, seq)
	}
	c.load.counters.delivered.Add(1)
	c.load.sawHead(r.index, seq)
}

// historyLocked keeps a room:history until its join is acked. An empty one does not say of which room it is, and need not.
func (c *client) historyLocked(page []chatMessage) {
	r := c.joining
	if len(page) > 0 {
		if r = c.rooms[page[0].RoomID]; r == nil {
			c.load.counters.fail("stray:" + "history of another room")
		}
	}
	if r != nil {
		r.history = page
	}
}

func (c *client) onlineLocked(ids []string) {
	o := history.Online{At: c.now(), User: c.index, Users: make([]int, 0, len(ids))}
	for _, id := range ids {
		if index, ok := c.load.byID[id]; ok {
			o.Users = append(o.Users, index)
		}
	}
	slices.Sort(o.Users)
	c.online = append(c.online, o)
}

// receipt is the argument of message:read.
type receipt struct {
	RoomID    string `json:"roomId"`
	MessageID string `json:"messageId"`
}

// receiptEvery is how often a reader sends a receipt: once in so many messages.
const receiptEvery = 50

func (c *client) receiptLocked(m chatMessage) *receipt {
	r := c.rooms[m.RoomID]
	if !c.role.reader || r == nil || r.phase != open || m.Seq < r.lastRead+receiptEvery {
		return nil
	}
	r.lastRead = m.Seq
	return &receipt{m.RoomID, m.ID}
}

// emitRead sends a receipt without an ack: a refusal comes as event:error.
func (c *client) emitRead(cn *conn, r receipt) {
	packet, err := sioclient.AppendEvent(nil, sioclient.NoAck, "message:read", r)
	if err != nil {
		return
	}
	c.load.counters.receipts.Add(1)
	if cn.link.Write(packet) != nil {
		cn.link.Reset()
	}
}
