package relay

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/presence"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// batch is how many messages are handled between two flushes, when so many wait.
const batch = 256

// pump hands messages to a handler until ctx ends. Everything that waits is queued before anything is flushed: under load many
// frames to one conn leave in one write, without load a frame leaves at once.
func pump(ctx context.Context, msgs <-chan *nats.Msg, handle func(*nats.Msg, *transport.FlushSet)) error {
	var flushes transport.FlushSet
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-msgs:
			handle(msg, &flushes)
			for range min(len(msgs), batch) {
				handle(<-msgs, &flushes)
			}
			flushes.Flush()
		}
	}
}

// control handles everything that is not a room event.
func (r *Relay) control(msg *nats.Msg, flushes *transport.FlushSet) {
	switch msg.Subject {
	case subject.Revoked:
		if answer := r.revocations.Received(msg.Data); answer != nil && msg.Reply != "" {
			_ = msg.Respond(answer) // nobody waits for long
		}
	case subject.PresenceOnline:
		if m := r.presence.Online(msg.Data); m != nil {
			r.toNamespace(presence.Namespace, "", m, flushes)
		}
	case subject.CatalogAnnounce:
		r.catalogAnnounced(msg.Data)
	case subject.PresenceSnapshot(r.cfg.GatewayID):
		r.presence.Snapshot(msg)
	default:
		if subject.Match(subject.AllUsers, msg.Subject) {
			r.userEvent(msg, flushes)
			return
		}
		r.broadcast(msg, flushes)
	}
}

// broadcast queues an event to every socket of a namespace; a socket that is behind may miss it.
func (r *Relay) broadcast(msg *nats.Msg, flushes *transport.FlushSet) {
	var b eventv1.Broadcast
	if err := proto.Unmarshal(msg.Data, &b); err != nil {
		r.log.Warn("broadcast cannot be decoded", slog.Any("error", err))
		return
	}
	emit := emitTo(b.GetNamespace(), b.GetEmit())
	emit.Volatile = true
	m := r.encoded(emit)
	if m == nil {
		return
	}
	r.toNamespace(b.GetNamespace(), b.GetExceptSocketId(), m, flushes)
}

// flushEvery is to how many sockets a broadcast is queued before their conns are flushed: all at once would need a send
// buffer for every conn of the gateway, which grows where the event is long.
const flushEvery = 64

// toNamespace queues a message to every socket of a namespace, save one.
func (r *Relay) toNamespace(namespace, except string, m *transport.Message, flushes *transport.FlushSet) {
	n := 0
	r.registry.Each(func(s *session.Socket) {
		if s.Namespace != namespace || s.ID == except {
			return
		}
		r.queue(s, m, flushes)
		if n++; n%flushEvery == 0 {
			flushes.Flush()
		}
	})
}

// userEvent queues an event to the sockets of one user.
func (r *Relay) userEvent(msg *nats.Msg, flushes *transport.FlushSet) {
	var e eventv1.UserEvent
	if err := proto.Unmarshal(msg.Data, &e); err != nil {
		r.log.Warn("user event cannot be decoded", slog.Any("error", err))
		return
	}
	sockets := r.registry.User(e.GetUserId())
	if len(sockets) == 0 {
		return
	}
	m := r.encoded(emitTo(e.GetNamespace(), e.GetEmit()))
	if m == nil {
		return
	}
	for _, s := range sockets {
		if s.Namespace == e.GetNamespace() && s.ID != e.GetExceptSocketId() {
			r.queue(s, m, flushes)
		}
	}
}

// emitTo maps the wire form of an emit.
func emitTo(namespace string, e *eventv1.Emit) session.Emit {
	return session.Emit{Namespace: namespace, Event: e.GetEvent(), Args: e.GetArgs(), Attachments: e.GetAttachments()}
}

// encoded is the message for an event; nil when it cannot be encoded.
func (r *Relay) encoded(e session.Emit) *transport.Message {
	m, err := e.Encode()
	if err != nil {
		r.log.Error("event cannot be encoded", slog.String("event", e.Event), slog.Any("error", err))
		return nil
	}
	return m
}

func (r *Relay) queue(s *session.Socket, m *transport.Message, flushes *transport.FlushSet) {
	if s.Queue(m) {
		r.stats.EventsOut.Inc()
		flushes.Add(s.Conn())
	}
}

// askCatalog has every service announce its events.
func (r *Relay) askCatalog() {
	if err := r.nc.Publish(subject.CatalogAsk, nil); err != nil {
		r.log.Debug("catalog not asked", slog.Any("error", err)) // services announce themselves anyway
	}
}

// catalogAnnounced takes in which events a service answers.
func (r *Relay) catalogAnnounced(data []byte) {
	var a eventv1.Catalog
	if err := proto.Unmarshal(data, &a); err != nil {
		r.log.Warn("catalog cannot be decoded", slog.Any("error", err))
		return
	}
	r.catalog.Announced(&a, time.Now())
}
