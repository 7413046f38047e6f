package relay

import (
	"context"
	"time"

	"github.com/starling-chat/starling/gateway/internal/calls"
	"github.com/starling-chat/starling/gateway/internal/watches"
	"github.com/starling-chat/starling/proto/fault"
)

// The client events that the gateway carries out itself, instead of passing them on in a request, each in a goroutine: room:join,
// auth:refresh, and those about watches.

// within carries out an event in what is left of its time; an event for which too little is left is refused. do queues the answer to the
// event, or gives an error that is the answer; then the event has ended. owner is the service by which the event is counted.
func (c *client) within(p *pending, owner string, do func(context.Context) error) {
	r := c.relay
	left, enough := r.timeLeft(p, time.Now())
	if !enough {
		r.failed(c, []*pending{p}, "none", fault.Retry(fault.Unavailable, "Service unavailable", retryAfter), calls.Now)
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, left)
	defer cancel()
	if err := do(ctx); err != nil {
		r.failed(c, []*pending{p}, owner, r.faultOf(err, p.event), calls.Now)
		return
	}
	r.count(p, owner, "")
	c.socket.Flush()
	c.done(p)
}

// watch has the client hear of other users' presence, or no longer.
func (c *client) watch(p *pending) {
	r := c.relay
	c.within(p, "presence-service", func(ctx context.Context) error {
		return r.watches.Watch(ctx, watches.Request{
			Event: p.event, Args: p.args, Socket: c.socket, Place: &c.watching,
			Joined: func(roomID string) bool { in, _ := c.inRoom(roomID); return in },
			Ack:    func(args []byte) { r.ack(c.socket, p, args, nil) },
		})
	})
}
