package intake

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/presence-service/internal/presence"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// intakeQueue bounds the deltas and leases that wait for the registry. What does not fit is dropped by the NATS library;
// the hole in the versions then brings a snapshot.
const intakeQueue = 8192

// Intake brings what gateways tell to the registry. Every replica hears everything.
type Intake struct {
	Conn      *nats.Conn
	Registry  *presence.Registry
	Snapshots *Snapshots
	Log       *slog.Logger
}

// Run listens until ctx ends.
func (in *Intake) Run(ctx context.Context) error {
	// One queue for both subjects keeps a gateway's leases behind the deltas they sum up.
	messages := make(chan *nats.Msg, intakeQueue)
	for _, s := range []string{subject.PresenceDelta, subject.PresenceLease} {
		sub, err := in.Conn.ChanSubscribe(s, messages)
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", s, err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	refused := obs.Repeats{Log: in.Log, Message: "message refused"} // a lease comes every few seconds
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-messages:
			if err := in.apply(m); err != nil {
				refused.Failed(ctx, err, slog.String("subject", m.Subject))
			}
		}
	}
}

// apply decodes one message and brings it to the registry.
func (in *Intake) apply(m *nats.Msg) error {
	now := time.Now()
	if m.Subject == subject.PresenceLease {
		var p eventv1.PresenceLease
		if err := proto.Unmarshal(m.Data, &p); err != nil {
			return fmt.Errorf("decode lease: %w", err)
		}
		l := lease(&p)
		if l.Gateway != "" && in.Registry.Renew(l, now) {
			in.Snapshots.Ask(l.Gateway)
		}
		return nil
	}
	var p eventv1.PresenceDelta
	if err := proto.Unmarshal(m.Data, &p); err != nil {
		return fmt.Errorf("decode delta: %w", err)
	}
	d := delta(&p)
	if d.Gateway != "" && in.Registry.Apply(d, now) {
		in.Snapshots.Ask(d.Gateway)
	}
	return nil
}

func lease(p *eventv1.PresenceLease) presence.Lease {
	return presence.Lease{
		Gateway: presence.GatewayID(p.GetGatewayId()), Incarnation: p.GetIncarnation(), Version: p.GetVersion(),
		Sockets: p.GetSockets(), Digest: p.GetDigest(), Ending: p.GetEnding(),
	}
}

func delta(p *eventv1.PresenceDelta) presence.Delta {
	d := presence.Delta{
		Gateway: presence.GatewayID(p.GetGatewayId()), Incarnation: p.GetIncarnation(), Version: p.GetVersion(),
		Up: sockets(p.GetUp()), Down: make([]presence.SocketID, len(p.GetDown())),
	}
	for i, id := range p.GetDown() {
		d.Down[i] = presence.SocketID(id)
	}
	return d
}

// sockets maps living sockets. Users are taken as they are: leaving one out would spoil the digest.
func sockets(refs []*eventv1.SocketRef) []presence.Socket {
	s := make([]presence.Socket, len(refs))
	for i, ref := range refs {
		s[i] = presence.Socket{ID: presence.SocketID(ref.GetSocketId()), User: presence.UserID(ref.GetUserId())}
	}
	return s
}
