package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/run"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const (
	// gatewayInterval is the time between two questions to each gateway at the other end of tunnels, about one of them. Every third
	// time it is asked about all of them.
	gatewayInterval = time.Second
	fullRound       = 3
	// keepaliveTimeout bounds the wait for an answer. A tunnel whose other end gives no sign of life for keepaliveLost is given up.
	keepaliveTimeout = 3 * time.Second
	keepaliveLost    = 10 * time.Second
	// openingGrace is how long a tunnel may be known at one end alone.
	openingGrace = 5 * time.Second
	// A gateway is gone when nobody listens for it and this is still so goneTries times later, goneWait apart: after a break of
	// NATS the gateways are back one after the other.
	goneWait  = 400 * time.Millisecond
	goneTries = 3
)

// keepTunnels asks the other end of each tunnel from time to time whether it has the tunnel, and ends those that it does not
// have and those of gateways that are gone or do not answer.
func (p *Peers) keepTunnels(ctx context.Context) {
	ticker := time.NewTicker(gatewayInterval)
	defer ticker.Stop()
	rounds := &rounds{asked: make(map[string]bool)}
	defer rounds.tasks.Wait()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for gateway, tunnels := range p.tunnelsByGateway() {
				if n%fullRound != 0 {
					tunnels = tunnels[:1]
				}
				rounds.start(gateway, func() { p.askTunnels(ctx, tunnels, now) })
			}
		}
	}
}

// rounds are the rounds of questions under way, one a gateway at most.
type rounds struct {
	tasks sync.WaitGroup

	mu    sync.Mutex // guards what follows
	asked map[string]bool
}

// start begins a round of questions to a gateway, unless the last one has not ended.
func (r *rounds) start(gateway string, ask func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked[gateway] {
		return
	}
	r.asked[gateway] = true
	r.tasks.Go(func() {
		ask()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.asked, gateway)
	})
}

func (p *Peers) tunnelsByGateway() map[string][]*tunnel {
	p.mu.Lock()
	defer p.mu.Unlock()
	byGateway := make(map[string][]*tunnel)
	for _, t := range p.tunnels {
		byGateway[t.gateway] = append(byGateway[t.gateway], t)
	}
	return byGateway
}

// askTunnels asks one gateway for tunnels that end there.
func (p *Peers) askTunnels(ctx context.Context, tunnels []*tunnel, now time.Time) {
	silent := false
	for _, t := range tunnels {
		known := false
		if !silent { // one silence is enough: asking for the gateway's other tunnels would take as long each
			end, err := p.askTunnel(ctx, t.gateway, t.id)
			known, silent = end.known, err != nil
			if errors.Is(err, nats.ErrNoResponders) && p.gone(ctx, t.gateway) {
				p.endTunnelsOf(t.gateway)
				return
			}
			if err == nil && !known {
				t.unknown()
				continue
			}
		}
		t.mu.Lock()
		if known {
			t.seen = time.Now()
		}
		lost := now.Sub(t.seen) > keepaliveLost
		t.mu.Unlock()
		if lost {
			t.end(transport.ReasonLost)
		}
	}
}

// unknown ends a tunnel that the other end's gateway does not have: it never came to be there, or its end was not told. A new one is
// still on its way: the owner has it before the carrier has answered its client.
func (t *tunnel) unknown() {
	t.mu.Lock()
	young := time.Since(t.added) < openingGrace
	t.mu.Unlock()
	if !young {
		t.end(transport.ReasonLost)
	}
}

// otherEnd is what the gateway at the other end of a tunnel answers.
type otherEnd struct {
	known  bool
	queued int // bytes that wait for the client, at the carrier
}

// askTunnel asks a gateway about a tunnel; an error means that it does not answer. Its answer also says that it has taken
// in what this gateway sent before, for one gateway takes messages in in their order.
func (p *Peers) askTunnel(ctx context.Context, gateway, id string) (otherEnd, error) {
	raw, err := proto.Marshal(&enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Keepalive{
		Keepalive: &enginev1.TunnelKeepalive{Tunnel: id, State: true},
	}})
	if err != nil {
		return otherEnd{}, fmt.Errorf("encode a keepalive: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, keepaliveTimeout)
	defer cancel()
	msg, err := p.nc.RequestWithContext(wait, subject.Engine(gateway), raw)
	if err != nil {
		return otherEnd{}, fmt.Errorf("ask the other end of a tunnel: %w", err)
	}
	if string(msg.Data) == unknownTunnel {
		return otherEnd{}, nil
	}
	var state enginev1.TunnelState
	if err := proto.Unmarshal(msg.Data, &state); err != nil {
		return otherEnd{}, fmt.Errorf("decode the state of a tunnel: %w", err)
	}
	return otherEnd{known: true, queued: int(state.GetQueued())}, nil //nolint:gosec // another gateway's send queue
}

// answerKeepalive tells another gateway about a tunnel between the two.
func (p *Peers) answerKeepalive(msg *nats.Msg, asked *enginev1.TunnelKeepalive) {
	t := p.tunnel(asked.GetTunnel())
	var answer []byte
	switch {
	case t == nil:
		answer = []byte(unknownTunnel)
	case asked.GetState() && t.conn != nil:
		answer, _ = proto.Marshal(&enginev1.TunnelState{Queued: uint64(t.conn.QueuedBytes())}) //nolint:gosec // never negative
	}
	_ = msg.Respond(answer) // the other end asks again
}

// unknownTunnel is the answer to the keepalive of a tunnel that this gateway does not have.
const unknownTunnel = "unknown"

// gone tells whether a gateway for which nobody listens stays away.
func (p *Peers) gone(ctx context.Context, gateway string) bool {
	for range goneTries {
		if !run.Pause(ctx, goneWait) {
			return false
		}
		if _, err := p.askTunnel(ctx, gateway, ""); !errors.Is(err, nats.ErrNoResponders) {
			return false
		}
	}
	return true
}

// endTunnelsOf ends all tunnels to a gateway that is gone.
func (p *Peers) endTunnelsOf(gateway string) {
	for _, t := range p.tunnelsByGateway()[gateway] {
		t.end(transport.ReasonLost)
	}
}

// giveUpWhenGone cancels a request to a gateway once that gateway is gone: an answer that was under way is lost.
func (p *Peers) giveUpWhenGone(ctx context.Context, cancel context.CancelFunc, gateway string) {
	for {
		if _, err := p.askTunnel(ctx, gateway, ""); errors.Is(err, nats.ErrNoResponders) && p.gone(ctx, gateway) {
			cancel()
			return
		}
		if !run.Pause(ctx, gatewayInterval) {
			return
		}
	}
}
