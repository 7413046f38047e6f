package load

import (
	"context"
	"errors"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

const ackTimeout = 6 * time.Second

var (
	errOffline    = errors.New("not connected")
	errAckTimeout = errors.New("no ack in time")
	errConnEnded  = errors.New("the connection ended")
)

// call is an emit whose ack is awaited.
type call struct {
	id    int64
	conn  int // number of the connection
	at    history.Time
	reply chan reply         // capacity 1
	then  func(call, answer) // called with the ack before the next packet is read; may be nil
}

// reply is the end of a call.
type reply struct {
	answer answer
	err    error // no answer came
}

// invoke emits an event with an ack. Its error means that nothing was sent. Calls of one connection go out in the order of their
// times: conn.order is held over both.
func (c *connection) invoke(name string, arg any, then func(call, answer)) (call, error) {
	c.mu.Lock()
	cn := c.current
	c.mu.Unlock()
	if cn == nil {
		return call{}, errOffline
	}
	cn.order.Lock()
	defer cn.order.Unlock()
	k, err := c.register(cn, then)
	if err != nil {
		return call{}, err
	}
	cn.emit(k.id, name, arg)
	return k, nil
}

// emit writes an event. Where that fails it is not known how much of it went out: the connection is reset, and its reader ends
// the calls.
func (cn *conn) emit(id int64, name string, arg any) {
	packet, err := sioclient.AppendEvent(nil, id, name, arg)
	if err != nil || cn.link.Write(packet) != nil {
		cn.link.Reset()
	}
}

func (c *connection) register(cn *conn, then func(call, answer)) (call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != cn {
		return call{}, errOffline
	}
	k := call{id: c.acks.Next(), conn: cn.number, at: c.now(), reply: make(chan reply, 1), then: then}
	if c.acks.Len() == 0 && k.at-cn.idle > history.IdleLeast {
		cn.busy = k.at
	}
	c.acks.Await(k.id, k)
	return k, nil
}

// await waits for the ack of a call.
func (c *connection) await(ctx context.Context, k call) reply {
	timer := time.NewTimer(ackTimeout - (c.now() - k.at))
	defer timer.Stop()
	select {
	case r := <-k.reply:
		return r
	case <-timer.C:
		c.forget(k)
		return reply{err: errAckTimeout}
	case <-ctx.Done():
		c.forget(k)
		return reply{err: ctx.Err()}
	}
}

func (c *connection) forget(k call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acks.Remove(k.id)
}

func (c *connection) acked(id int64, a answer) {
	c.mu.Lock()
	k, ok := c.acks.Remove(id)
	if ok && c.acks.Len() == 0 && c.current != nil {
		c.current.idle = c.now()
	}
	c.mu.Unlock()
	if !ok {
		return // given up
	}
	if k.then != nil {
		k.then(k, a)
	}
	k.reply <- reply{answer: a}
}
