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

// within carries out an event in what is left of its time; an event for which too little is left is refused. See carryOut.
func (c *client) within(p *pending, owner string, do func(context.Context) error) {
	left, enough := c.relay.timeLeft(p, time.Now())
	if !enough {
		f := fault.Retry(fault.Unavailable, "Service unavailable", retryAfter)
		c.relay.failed(c, []*pending{p}, "none", f, calls.Now)
		return
	}
	c.carryOut(p, owner, left, do)
}

// carryOut runs do, which queues the answer to an event, or gives an error that is the answer; then it ends the event. owner is the
// service by which the event is counted.
func (c *client) carryOut(p *pending, owner string, timeout time.Duration, do func(context.Context) error) {
	r := c.relay
	ctx, cancel := context.WithTimeout(r.ctx, timeout)
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
