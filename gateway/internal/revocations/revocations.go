package revocations

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/transport"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// Config is what Revocations stand on.
type Config struct {
	Gateway  string // its id, for the answers
	Auth     Auth
	Timeout  time.Duration // of a question to Auth
	Registry *hub.Registry
	Log      *slog.Logger
}

// Auth is auth-service, which keeps a log of revocations.
type Auth interface {
	ListRevocations(ctx context.Context, r *authv1.ListRevocationsRequest, opts ...grpc.CallOption) (*authv1.ListRevocationsResponse, error)
}

// Token is the token of a socket, and its State.
type Token interface {
	// RevokedBy tells whether a revocation of its user covers the token.
	RevokedBy(r *eventv1.Revocation) bool
}

// Revocations closes the sockets of revoked tokens.
type Revocations struct {
	cfg Config
	now chan struct{}

	mu     sync.Mutex // guards what follows; before that of a Token
	lastID int64      // -1: not known yet
	recent []recentRevocation
	coming map[*coming]struct{}
}

// coming is a socket that is not registered yet and takes long for it.
type coming struct {
	user   string
	token  Token
	cancel context.CancelCauseFunc
}

type recentRevocation struct {
	at time.Time
	r  *eventv1.Revocation
}

const (
	revocationInterval = 5 * time.Second
	// recentFor is how long a token may be on its way from the check to the registry: what takes longer stands in coming.
	recentFor = 30 * time.Second
	maxRecent = 10000
	// latelyFor is longer than any replica of auth-service goes by what it remembers of a user.
	latelyFor = 2 * time.Second
)

// New makes Revocations; Run brings them up to date.
func New(cfg Config) *Revocations {
	return &Revocations{cfg: cfg, now: make(chan struct{}, 1), lastID: -1, coming: make(map[*coming]struct{})}
}

// Received takes a revocation from the bus; the answer tells how many sockets it closed, and is nil for what is not readable.
func (v *Revocations) Received(message []byte) (answer []byte) {
	var rev eventv1.Revocation
	if err := proto.Unmarshal(message, &rev); err != nil {
		v.cfg.Log.Warn("revocation cannot be decoded", slog.Any("error", err))
		return nil
	}
	closed := v.apply(&rev)
	answer, err := proto.Marshal(&eventv1.RevocationReply{GatewayId: v.cfg.Gateway, Closed: int32(closed)}) //nolint:gosec // far below 2^31
	if err != nil {
		v.cfg.Log.Debug("revocation not answered", slog.Any("error", err)) // the sockets are closed all the same
	}
	return answer
}

// apply closes the sockets that a revocation covers. Doing it twice does no harm.
func (v *Revocations) apply(rev *eventv1.Revocation) (closed int) {
	now := time.Now()
	v.mu.Lock()
	for len(v.recent) > 0 && (now.Sub(v.recent[0].at) > recentFor || len(v.recent) >= maxRecent) {
		v.recent = v.recent[1:]
	}
	v.recent = append(v.recent, recentRevocation{at: now, r: rev})
	for c := range v.coming {
		if c.user == rev.GetUserId() && c.token.RevokedBy(rev) {
			c.cancel(ErrRevoked)
		}
	}
	v.mu.Unlock()
	for _, s := range v.cfg.Registry.User(rev.GetUserId()) {
		if c, ok := s.State.(Token); ok && c.RevokedBy(rev) {
			s.Disconnect(transport.ReasonServer)
			closed++
		}
	}
	return closed
}

// ErrRevoked is the cause for which a context of While ends.
var ErrRevoked = errors.New("the token was revoked")

// While gives a context for what is done for a socket between the check of its token and its registration. It ends when the token is
// revoked, or has been since that check. The caller calls done.
func (v *Revocations) While(ctx context.Context, userID string, token Token) (while context.Context, done func()) {
	while, cancel := context.WithCancelCause(ctx)
	c := &coming{user: userID, token: token, cancel: cancel}
	v.mu.Lock()
	v.coming[c] = struct{}{}
	v.mu.Unlock()
	if v.Cover(userID, token) {
		cancel(ErrRevoked)
	}
	return while, func() {
		v.mu.Lock()
		delete(v.coming, c)
		v.mu.Unlock()
		cancel(context.Canceled)
	}
}

// Cover tells whether a recent revocation covers a token that was checked a moment ago, of a socket that is registered by now.
func (v *Revocations) Cover(userID string, token Token) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, recent := range v.recent {
		if recent.r.GetUserId() == userID && token.RevokedBy(recent.r) {
			return true
		}
	}
	return false
}

// Lately tells whether a revocation of a user has come in the last two seconds.
func (v *Revocations) Lately(userID string) bool {
	since := time.Now().Add(-latelyFor)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, recent := range slices.Backward(v.recent) {
		if recent.at.Before(since) {
			return false
		}
		if recent.r.GetUserId() == userID {
			return true
		}
	}
	return false
}

// CatchUp has Run catch up at once.
func (v *Revocations) CatchUp() {
	select {
	case v.now <- struct{}{}:
	default: // one is wanted already
	}
}

// Run catches up with auth-service's log of revocations, now and then.
func (v *Revocations) Run(ctx context.Context) error {
	ticker := time.NewTicker(revocationInterval)
	defer ticker.Stop()
	for {
		if err := v.catchUp(ctx); err != nil && ctx.Err() == nil {
			v.cfg.Log.DebugContext(ctx, "revocations not caught up", slog.Any("error", err))
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
func (v *Revocations) catchUp(ctx context.Context) error {
	for {
		v.mu.Lock()
		after := v.lastID
		v.mu.Unlock()
		call, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
		res, err := v.cfg.Auth.ListRevocations(call, &authv1.ListRevocationsRequest{AfterId: after})
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
