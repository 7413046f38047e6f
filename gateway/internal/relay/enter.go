package relay

import (
	"context"
	"time"

	"github.com/starling-chat/starling/gateway/internal/entry"
	"github.com/starling-chat/starling/gateway/internal/services"
	"github.com/starling-chat/starling/proto/fault"
)

// enterRooms lets a socket into several rooms, each as join does, and answers with what became of each. It takes as much of the socket's rate
// as so many events.
func (c *client) enterRooms(p *pending) {
	r := c.relay
	c.within(p, "chat-service", func(ctx context.Context) error {
		rooms, err := entry.Rooms(p.args)
		if err != nil {
			return err
		}
		atBound := func(entering int) bool { _, n := c.inRoom(""); return n+entering >= r.cfg.MaxRooms }
		answers := entry.All(rooms, atBound, func(room entry.Wanted) (answer []byte) {
			err := entry.Turn(ctx, c.socket.Conn(), c.takeOne)
			if err == nil {
				err = r.enter(ctx, c, &pending{event: eventJoin, args: room.Args, receivedAt: p.receivedAt, ackID: -1, joined: &answer}, room.Room)
			}
			if err != nil {
				return services.RefusalAck(r.faultOf(err, p.event))
			}
			return answer
		})
		r.ack(c.socket, p, entry.Ack(rooms, answers), nil)
		return nil
	})
}

// takeOne takes one token of the socket's rate.
func (c *client) takeOne() *fault.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	refusal, _ := c.takeToken(0, time.Now())
	return refusal
}
