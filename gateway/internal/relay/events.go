package relay

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/starling-chat/starling/gateway/internal/calls"
	"github.com/starling-chat/starling/gateway/internal/entry"
	"github.com/starling-chat/starling/gateway/internal/services"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/gateway/internal/watches"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/namespaces"
	"github.com/starling-chat/starling/proto/subject"
)

// The client events that concern the gateway itself, because it keeps who is in which room and with which token.
const (
	eventJoin    = "room:join"
	eventEnter   = "room:enter"
	eventLeave   = "room:leave"
	eventRefresh = "auth:refresh"
)

// closeStale closes a socket when what it has sent may be from before a stall: the client may have left meanwhile, come back and
// changed its mind through another gateway. One that is still there knows that its event has no answer, and recovers.
func (r *Relay) closeStale(s *session.Socket, now time.Time) bool {
	resumed := r.stalls.Resumed(now)
	if resumed.IsZero() || !s.Session().Since().Before(resumed) {
		return false
	}
	s.Close(transport.CodeTryAgainLater, transport.ReasonStalled)
	return true
}

// Event implements session.App: it checks the limits and forwards the event.
func (r *Relay) Event(s *session.Socket, e session.Event) {
	c, ok := s.State.(*client)
	if !ok {
		return
	}
	now := time.Now()
	if r.closeStale(s, now) {
		return
	}
	p := &pending{event: e.Name, ackID: -1}
	if e.Packet.HasID {
		p.ackID = e.Packet.ID
	}
	if f := r.admit(c, e, p, now); f != nil {
		r.stats.ClientEvents.WithLabelValues("gateway", string(f.Kind)).Inc()
		r.refuse(c.socket, p, f)
		c.socket.Flush()
		return
	}
	c.enqueue(p)
}

// BatchEnd implements session.App.
func (r *Relay) BatchEnd(s *session.Socket) {
	if c, ok := s.State.(*client); ok {
		c.readEnded()
	}
}

// Busy tells whether a session has events that are not answered yet.
func (r *Relay) Busy(s *session.Session) bool {
	return slices.ContainsFunc(s.Sockets(), func(socket *session.Socket) bool {
		c, ok := socket.State.(*client)
		if !ok {
			return false
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		q := c.events
		return q != nil && (q.inFlight != nil || len(q.waiting) > 0)
	})
}

// admit checks an event against the limits and prepares it to be sent.
func (r *Relay) admit(c *client, e session.Event, p *pending, now time.Time) *fault.Error {
	size := len(e.Packet.Data)
	for _, a := range e.Attachments {
		size += len(a)
	}
	c.mu.Lock()
	refusal, flood := c.takeToken(size, now)
	c.mu.Unlock()
	if flood {
		c.socket.Close(transport.CodePolicy, transport.ReasonFlood)
	}
	if refusal != nil {
		return refusal
	}
	if e.Packet.TooDeep {
		return fault.New(fault.Invalid, "arguments are nested too deeply")
	}
	if size > r.cfg.Events.MaxBytes+len(e.Name)+3 {
		return fault.Newf(fault.TooLarge, "arguments must not exceed %d bytes", r.cfg.Events.MaxBytes)
	}
	subj, err := subject.ClientEvent(c.socket.Namespace, e.Name)
	if err != nil {
		return fault.New(fault.UnknownEvent, "Unknown event")
	}
	p.subject = subj
	p.task = taskOf(c.socket.Namespace, e.Name)
	if r.waiting.Load() > int64(r.cfg.Events.MaxWaiting) {
		return fault.Retry(fault.Unavailable, "The gateway is overloaded", retryAfter)
	}
	p.args, p.attachments, p.receivedAt = e.Packet.AppendArgs(nil), e.Attachments, now
	if e.Name == eventLeave {
		p.room, _ = entry.Room(p.args)
	}
	return nil
}

// taskOf is what answers an event that the gateway answers itself; nil = a service does.
func taskOf(namespace, event string) func(*client, *pending) {
	switch {
	case event == eventJoin && namespaces.HasRooms(namespace):
		return (*client).join
	case event == eventEnter && namespaces.HasRooms(namespace):
		return (*client).enterRooms
	case event == eventRefresh:
		return (*client).refresh
	case watches.IsWatch(event) && namespaces.HasRooms(namespace):
		return (*client).watch
	}
	return nil
}

// send begins events, unless the client has still to take the answers to those before.
func (r *Relay) send(c *client, events []*pending) {
	if q := (&request{c, events}); !r.unread.hold(q) {
		r.begin(q)
	}
}

// begin starts events: as one NATS request, or a single one with what the gateway does itself.
func (r *Relay) begin(q *request) {
	c, p := q.client, q.events[0]
	switch {
	case r.closeStale(c.socket, time.Now()): // they may have waited since before it
	case p.task != nil:
		r.tasks.Go(func() { p.task(c, p) })
	case !r.throttle.Delay(q):
		r.start(q)
	}
}

// release starts what was held back or delayed, or refuses what was delayed for too long.
func (r *Relay) release(now time.Time) {
	for _, q := range r.unread.release(now) {
		r.begin(q)
	}
	requests, ok := r.throttle.Release(now)
	for _, q := range requests {
		if ok {
			r.start(q)
		} else {
			q.Failed("none", fault.Retry(fault.Unavailable, "The gateway is overloaded", retryAfter), calls.Now)
		}
	}
}

// answer queues a service's reply to one event.
func (r *Relay) answer(c *client, p *pending, reply *eventv1.ClientReply) {
	r.count(p, "", fault.Kind(reply.GetFault().GetCode()))
	if f := reply.GetFault(); f != nil {
		r.refuse(c.socket, p, r.faultOf(fault.FromProto(f), p.event))
	} else {
		if p.event == eventLeave {
			r.left(c, p) // before the ack: nothing of the room follows it
		}
		r.emitAll(c.socket, reply.GetEmits())
		r.ack(c.socket, p, reply.GetAckArgs(), reply.GetAttachments())
	}
}

// failed answers events that no service answered; owner is the service by which they are counted.
func (r *Relay) failed(c *client, events []*pending, owner string, f *fault.Error, flush calls.Flush) {
	for _, p := range events {
		r.count(p, owner, f.Kind)
		r.refuse(c.socket, p, f)
	}
	flush(c.socket.Conn())
	c.done(events[0])
}

// emitAll queues the events that a service sends along with its answer.
func (r *Relay) emitAll(s *session.Socket, emits []*eventv1.Emit) {
	for _, e := range emits {
		emit := emitTo(s.Namespace, e)
		emit.Answer = true
		m, err := emit.Encode()
		if err != nil {
			r.log.Error("event cannot be encoded", slog.String("event", e.GetEvent()), slog.Any("error", err))
			continue
		}
		r.stats.EventsOut.Inc()
		s.Queue(m)
	}
}

// ack queues a service's ack, if the client wants one.
func (r *Relay) ack(s *session.Socket, p *pending, args []byte, attachments [][]byte) {
	if p.ackID < 0 {
		return
	}
	m, err := session.AckMessage(s.Namespace, p.ackID, args, attachments)
	if err != nil {
		r.refuse(s, p, r.faultOf(fmt.Errorf("encode ack: %w", err), p.event))
		return
	}
	r.stats.AcksOut.Inc()
	s.Queue(m)
}

// refuse answers with a fault: in the ack, or as event:error when the client wanted none.
func (r *Relay) refuse(s *session.Socket, p *pending, f *fault.Error) {
	var m *transport.Message
	var err error
	if p.ackID >= 0 {
		m, err = session.RefusalMessage(s.Namespace, p.ackID, services.RefusalAck(f))
	} else {
		m, err = session.Emit{Namespace: s.Namespace, Event: "event:error", Args: services.RefusalEvent(p.event, f)}.Encode()
	}
	if err != nil {
		r.log.Error("fault cannot be encoded", slog.String("event", p.event), slog.Any("error", err))
		return
	}
	s.Queue(m)
}
