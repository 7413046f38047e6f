package relay

import (
	"context"
	"time"

	"github.com/starling-chat/starling/gateway/internal/calls"
	"github.com/starling-chat/starling/gateway/internal/presence"
	"github.com/starling-chat/starling/proto/fault"
)

// watch has the client hear of other users' presence, or no longer.
func (c *client) watch(p *pending) {
	r := c.relay
	left, enough := r.timeLeft(p, time.Now())
	if !enough {
		r.failed(c, []*pending{p}, "none", fault.Retry(fault.Unavailable, "Service unavailable", retryAfter), calls.Now)
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, left)
	defer cancel()
	err := r.presence.Watch(ctx, presence.Request{
		Event: p.event, Args: p.args, Socket: c.socket, Claim: &c.claim,
		Joined: func(roomID string) bool { in, _ := c.inRoom(roomID); return in },
		Ack:    func(args []byte) { r.ack(c.socket, p, args, nil) },
	})
	if err != nil {
		r.failed(c, []*pending{p}, "presence-service", r.faultOf(err, p.event), calls.Now)
		return
	}
	r.count(p, "presence-service", "")
	c.socket.Flush()
	c.done(p)
}
