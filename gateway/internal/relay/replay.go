package relay

import (
	"cmp"
	"context"
	"errors"

	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/proto/namespaces"
)

// carryOn brings the socket back into its rooms and admits it. On an error the caller closes the session.
func (p *resumption) carryOn(ctx context.Context) error {
	r, c := p.relay, p.client
	c.user = r.users.Return(c.socket.UserID)
	for _, room := range p.rooms {
		c.socket.Offsets.Set(room.index, room.seq)
		r.hub.BeginJoin(c.socket, room.id, room.index)
		room.id = r.hub.Interned(room.id)
		if err := r.rooms.Acquire(ctx, room.id); err != nil {
			r.abortJoin(c.socket, room.id)
			p.abandon()
			return err
		}
		c.addRoom(room, false)
	}
	kept := make([]clientRoom, 0, len(p.rooms))
	for _, room := range p.rooms {
		head, member, err := r.replay.Room(ctx, c.socket, room.id, room.index, room.seq)
		if err != nil {
			p.abandon()
			return err
		}
		if !member {
			p.relay.dropRoom(c, room.id)
			continue
		}
		room.seq = head // but not in the state: the client may never get what was just sent, and come again
		kept = append(kept, room)
	}
	kept, err := p.stillMember(ctx, kept)
	if err = cmp.Or(err, context.Cause(ctx)); err != nil {
		p.abandon()
		return err
	}
	if !p.session.Admit(c.socket, c.pid, func() { r.register(c.socket, c) }) {
		p.abandon()
		return errNotAdmitted
	}
	for _, room := range kept {
		if err := p.complete(ctx, room); err != nil {
			return err // the session is closed by the caller, and with it the rooms are left
		}
	}
	if namespace := c.socket.Namespace; !namespaces.HasRooms(namespace) {
		if missed, err := p.missedNotifications(ctx); err != nil || missed {
			return errors.Join(errStale, err) // it came while the socket was carried on; the client comes back for a fresh one
		}
	}
	r.save(c)
	r.announce(c.socket, c)
	return nil
}

// complete lets the socket into one room; events that went by between the replay and now are replayed as well.
func (p *resumption) complete(ctx context.Context, room clientRoom) error {
	for range joinAttempts {
		if p.relay.completeJoin(p.client.socket, room.id, room.seq, nil) {
			return nil
		}
		head, member, err := p.relay.replay.Room(ctx, p.client.socket, room.id, room.index, room.seq)
		if err != nil {
			return err
		}
		if !member {
			p.relay.dropRoom(p.client, room.id)
			return nil
		}
		room.seq = head
	}
	return errors.New("the room is too busy to enter")
}

// abandon undoes a recovery before the socket was admitted: nobody else will hear of its end.
func (p *resumption) abandon() {
	r, c := p.relay, p.client
	rooms, _ := c.end()
	for _, room := range rooms {
		r.abortJoin(c.socket, room.id)
		r.rooms.Release(room.id)
	}
	r.saveEnd(c, transport.ReasonLost)
	c.setEnded()
}
