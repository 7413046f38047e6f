package relay

import (
	"context"
	"log/slog"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/entry"
	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// joinAttempts bounds how often the history is read again because live events outran it.
const joinAttempts = 5

// join lets a socket into a room without a gap and without a repeat:
//
//	hub.BeginJoin      events of the room are buffered for this socket from here on
//	rooms.Acquire      the room's subject reaches this gateway
//	JoinRoom           chat-service: may it? history and head, of one moment
//	hub.CompleteJoin   history, ack, then what was buffered after head
func (c *client) join(p *pending) {
	c.within(p, "chat-service", func(ctx context.Context) error {
		roomID, valid := entry.Room(p.args)
		if !valid {
			return c.relay.explain(ctx, c, p) // chat-service says what is wrong with the arguments
		}
		return c.relay.enter(ctx, c, p, roomID)
	})
}

// enter lets a socket into a room, as described at join; the answer to p is the last of the prelude.
func (r *Relay) enter(ctx context.Context, c *client, p *pending, roomID string) error {
	inside, rooms := c.inRoom(roomID)
	if !inside && rooms >= r.cfg.MaxRooms {
		return fault.Newf(fault.TooLarge, "A socket can be in %d rooms at most", r.cfg.MaxRooms)
	}
	room := clientRoom{id: roomID, index: c.roomIndex(roomID)}
	for {
		left, ok := r.hub.BeginJoin(c.socket, roomID, room.index)
		if ok {
			break
		}
		if left == nil {
			return fault.New(fault.Conflict, "The room is being joined already")
		}
		select {
		case <-left: // an eviction has been dealt with, and the room has left the client's list
			room.index = c.roomIndex(roomID)
		case <-ctx.Done():
			return fault.Retry(fault.Unavailable, "Service unavailable", retryAfter)
		}
	}
	room.id = r.hub.Interned(roomID)
	// The join acquires the room for itself, also when the socket is inside: it may be evicted, or gone, before the end. The
	// socket's list of rooms takes that reference over when the room enters it.
	if err := r.rooms.Acquire(ctx, roomID); err != nil {
		r.abortJoin(c.socket, roomID)
		r.hub.Forget(roomID)
		return fault.Retry(fault.Unavailable, "Service unavailable", retryAfter)
	}
	listed, err := r.readAndComplete(ctx, c, p, room)
	if err != nil {
		r.abortJoin(c.socket, roomID)
	}
	switch {
	case err != nil && !listed:
		r.rooms.Discard(roomID)
	case !listed || err != nil && c.forgetRoom(roomID):
		r.rooms.Release(roomID)
	}
	return err
}

// readAndComplete reads the room's history and lets the socket in behind it. listed tells whether the room has entered the client's
// list, also when it failed afterwards.
func (r *Relay) readAndComplete(ctx context.Context, c *client, p *pending, room clientRoom) (listed bool, err error) {
	for range joinAttempts {
		token := c.token()
		res, err := r.askJoin(ctx, c, p)
		if err != nil {
			return listed, err
		}
		room.seq = res.GetSeq()
		added, alive := c.addRoom(room, true)
		listed = listed || added
		if !alive {
			return listed, fault.New(fault.Unavailable, "The socket is gone")
		}
		if token != c.token() {
			continue // the answer was for the one before
		}
		r.save(c)
		prelude, err := r.joinPrelude(c.socket, p, res)
		if err != nil {
			return listed, err
		}
		if r.completeJoin(c.socket, room.id, res.GetSeq(), prelude) {
			return listed, nil
		}
	}
	return listed, fault.Retry(fault.Unavailable, "The room is too busy to join", retryAfter)
}

// completeJoin lets a socket into a room; it reports false when the history has to be read again.
func (r *Relay) completeJoin(s *session.Socket, roomID string, head uint64, prelude []*transport.Message) bool {
	var flushes transport.FlushSet
	ok, fx := r.hub.CompleteJoin(s, roomID, head, prelude, &flushes)
	r.perform(roomID, fx)
	flushes.Flush()
	return ok
}

// abortJoin ends a join that failed: a socket that was not in the room before is not in it afterwards.
func (r *Relay) abortJoin(s *session.Socket, roomID string) {
	var flushes transport.FlushSet
	fx := r.hub.AbortJoin(s, roomID, &flushes)
	if fx.Lost {
		s.Close(transport.CodeTryAgainLater, transport.ReasonOverload) // it comes back and recovers
	}
	r.perform(roomID, fx)
	flushes.Flush()
}

// perform does what the hub leaves to its caller.
func (r *Relay) perform(roomID string, fx hub.Effects) {
	for _, s := range fx.Evicted {
		r.evicted(s, roomID)
	}
}

// askJoin asks chat-service whether the client may enter, and for the history.
func (r *Relay) askJoin(ctx context.Context, c *client, p *pending) (*chatv1.JoinRoomResponse, error) {
	var e eventv1.ClientEvent
	if err := proto.Unmarshal(c.encode([]*pending{p}, 0), &e); err != nil {
		return nil, err
	}
	res, err := r.chat.JoinRoom(ctx, &chatv1.JoinRoomRequest{Event: &e})
	return res, fault.FromStatus(err)
}

// explain asks chat-service to refuse arguments in which no room id was found.
func (r *Relay) explain(ctx context.Context, c *client, p *pending) error {
	if _, err := r.askJoin(ctx, c, p); err != nil {
		return err
	}
	return fault.New(fault.Invalid, "roomId is missing")
}

// joinPrelude encodes what the joiner gets before live events: its events (room:history), then the ack.
func (r *Relay) joinPrelude(s *session.Socket, p *pending, res *chatv1.JoinRoomResponse) ([]*transport.Message, error) {
	var prelude []*transport.Message
	for i, e := range res.GetEmits() {
		emit := emitTo(s.Namespace, e)
		// With the first one's offset the client knows, and brings back, that it is in the room, even when the state in the bus
		// that says so is lost before any event of the room has come.
		emit.WithOffset, emit.Answer = i == 0, true
		m, err := emit.Encode()
		if err != nil {
			return nil, err
		}
		prelude = append(prelude, m)
	}
	if p.joined != nil {
		*p.joined = res.GetAckArgs()
	}
	if p.ackID >= 0 {
		m, err := session.AckMessage(s.Namespace, p.ackID, res.GetAckArgs(), nil)
		if err != nil {
			return nil, err
		}
		prelude = append(prelude, m)
	}
	return prelude, nil
}

// left follows a room:leave that chat-service granted.
func (r *Relay) left(c *client, p *pending) {
	if p.room == "" {
		return
	}
	r.hub.Leave(c.socket, p.room)
	if c.forgetRoom(p.room) {
		r.rooms.Release(p.room)
		r.save(c)
	}
}

// faultOf turns an error into what the client sees.
func (r *Relay) faultOf(err error, event string) *fault.Error {
	return fault.Log(r.ctx, r.log, err, slog.String("event", event))
}
