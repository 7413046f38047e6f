package relay

import (
	"context"
	"time"

	"github.com/starling-chat/starling/gateway/internal/entry"
	"github.com/starling-chat/starling/gateway/internal/services"
	"github.com/starling-chat/starling/platform/run"
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
			err := c.spend(ctx)
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

// spend takes one token of the socket's rate, and waits for it as long as ctx lasts.
func (c *client) spend(ctx context.Context) error {
	for {
		c.mu.Lock()
		refusal, _ := c.takeToken(0, time.Now())
		c.mu.Unlock()
		if refusal == nil {
			return nil
		}
		if !run.Pause(ctx, refusal.RetryAfter) {
			return refusal
		}
	}
}
