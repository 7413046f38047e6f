package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/transport"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// revocations close the sockets of revoked tokens. They come by the bus within milliseconds; what is missed is found by
// asking auth-service for everything after the last one, at every reconnect and from time to time.
type revocations struct {
	relay *Relay
	now   chan struct{}

	mu     sync.Mutex // guards what follows; before client.mu
	lastID int64      // -1: not known yet
	recent []recentRevocation
}

type recentRevocation struct {
	at time.Time
	r  *eventv1.Revocation
}

const (
	revocationInterval = 5 * time.Second
	// recentFor is how long a token may be on its way from the check to the registry.
	recentFor = 30 * time.Second
	maxRecent = 10000
)

func newRevocations(r *Relay) *revocations {
	return &revocations{relay: r, now: make(chan struct{}, 1), lastID: -1}
}

// received takes a revocation from the bus and answers how many sockets it closed.
func (v *revocations) received(msg *nats.Msg) {
	var rev eventv1.Revocation
	if err := proto.Unmarshal(msg.Data, &rev); err != nil {
		v.relay.log.Warn("revocation cannot be decoded", slog.Any("error", err))
		return
	}
	closed := v.apply(&rev)
	if msg.Reply == "" {
		return
	}
	reply, err := proto.Marshal(&eventv1.RevocationReply{GatewayId: v.relay.cfg.GatewayID, Closed: int32(closed)}) //nolint:gosec // far below 2^31
	if err == nil {
		err = msg.Respond(reply)
	}
	if err != nil {
		v.relay.log.Debug("revocation not answered", slog.Any("error", err)) // the sockets are closed all the same
	}
}

// apply closes the sockets that a revocation covers. Doing it twice does no harm.
func (v *revocations) apply(rev *eventv1.Revocation) (closed int) {
	now := time.Now()
	v.mu.Lock()
	for len(v.recent) > 0 && (now.Sub(v.recent[0].at) > recentFor || len(v.recent) >= maxRecent) {
		v.recent = v.recent[1:]
	}
	v.recent = append(v.recent, recentRevocation{at: now, r: rev})
	v.mu.Unlock()
	for _, s := range v.relay.registry.User(rev.GetUserId()) {
		if c, ok := s.State.(*client); ok && c.revokedBy(rev.GetLoginId(), rev.GetRevokedAt().AsTime().UnixMilli()) {
			s.Disconnect(transport.ReasonServer)
			closed++
		}
	}
	return closed
}

// covers tells whether a recent revocation covers a client that was just registered.
func (v *revocations) covers(c *client) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, recent := range v.recent {
		if recent.r.GetUserId() == c.socket.UserID &&
			c.revokedBy(recent.r.GetLoginId(), recent.r.GetRevokedAt().AsTime().UnixMilli()) {
			return true
		}
	}
	return false
}

// catchUpNow has run catch up at once.
func (v *revocations) catchUpNow() {
	select {
	case v.now <- struct{}{}:
	default: // one is wanted already
	}
}

// run catches up with auth-service's log of revocations.
func (v *revocations) run(ctx context.Context) error {
	ticker := time.NewTicker(revocationInterval)
	defer ticker.Stop()
	for {
		if err := v.catchUp(ctx); err != nil && ctx.Err() == nil {
			v.relay.log.DebugContext(ctx, "revocations not caught up", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-v.now:
		}
	}
}

// catchUp applies what auth-service has logged since the last time.
func (v *revocations) catchUp(ctx context.Context) error {
	for {
		v.mu.Lock()
		after := v.lastID
		v.mu.Unlock()
		call, cancel := context.WithTimeout(ctx, v.relay.cfg.AuthTimeout)
		res, err := v.relay.auth.ListRevocations(call, &authv1.ListRevocationsRequest{AfterId: after})
		cancel()
		if err != nil {
			return err
		}
		newest := res.GetNewestId()
		for _, rev := range res.GetRevocations() {
			v.apply(rev)
			newest = rev.GetId()
		}
		v.mu.Lock()
		v.lastID = max(v.lastID, newest, 0)
		v.mu.Unlock()
		if len(res.GetRevocations()) == 0 || newest >= res.GetNewestId() {
			return nil
		}
	}
}
