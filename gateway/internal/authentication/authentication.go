package authentication

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/platform/batcher"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// Config are the bounds.
type Config struct {
	Most    int           // CONNECTs that have a place at once
	Timeout time.Duration // of one question
	Hold    time.Duration // how long a CONNECT is held at most
	// Revoked tells whether a revocation of a user has come lately, of which the replica that judges a token may not have heard; nil: never.
	Revoked func(userID string) bool
}

const (
	firstPause = 250 * time.Millisecond // between two questions about one CONNECT; it doubles
	lastPause  = 1500 * time.Millisecond
	awayAfter  = 3                      // questions in a row that nobody answers
	turnPause  = 200 * time.Millisecond // between two questions of all CONNECTs while auth-service is away
	spread     = time.Second            // over which those that are held ask when it is back
	trialPause = time.Second            // between two handshakes that are let in meanwhile
	retryLeast = time.Second            // Retry-After
	retrySpan  = 4 * time.Second
)

// Authentication asks auth-service about tokens.
type Authentication struct {
	cfg     Config
	service authv1.AuthServiceClient
	stats   *stats.Stats
	silent  *obs.Repeats
	places  chan struct{} // tokens of the CONNECTs that have a place

	batches *batcher.Batcher[*authv1.AuthenticateRequest, verdict]

	mu       sync.Mutex    // guards what follows
	aloneTo  time.Time     // until when questions are not asked together: auth-service is an older one
	failures int           // in a row
	back     chan struct{} // while auth-service is away: closed when it is back; nil otherwise
	turnAt   time.Time     // while it is away: the next question
	trialAt  time.Time     // while it is away: the next handshake
}

// New makes an Authentication.
func New(cfg Config, service authv1.AuthServiceClient, st *stats.Stats, log *slog.Logger) *Authentication {
	a := &Authentication{
		cfg: cfg, service: service, stats: st, places: make(chan struct{}, cfg.Most),
		silent: &obs.Repeats{Log: log, Message: "auth-service does not judge CONNECTs, which are held"},
	}
	a.batches = batcher.New(batcher.Config[*authv1.AuthenticateRequest, verdict]{
		Most: mostTogether, Calls: callsAtOnce, Wait: gatherWait, Timeout: cfg.Timeout, Call: a.many,
	})
	return a
}

// Begin takes a place for a CONNECT; each success needs one End.
func (a *Authentication) Begin() bool {
	select {
	case a.places <- struct{}{}:
		return true
	default:
		return false
	}
}

// End gives the place back.
func (a *Authentication) End() { <-a.places }

// Under tells how many CONNECTs have a place.
func (a *Authentication) Under() int { return len(a.places) }

// Admit tells whether a client may open a connection now. Otherwise its CONNECT would be held for long, or find no place; wait is when
// it may come back.
func (a *Authentication) Admit() (wait time.Duration, ok bool) {
	now := time.Now()
	a.mu.Lock()
	away := a.back != nil
	trial := away && !now.Before(a.trialAt)
	if trial {
		a.trialAt = now.Add(trialPause)
	}
	a.mu.Unlock()
	if len(a.places) == cap(a.places) || away && !trial {
		return retryLeast + rand.N(retrySpan), false //nolint:gosec // no secret
	}
	return 0, true
}

// Ask has auth-service judge a token. It asks again until there is an answer, gone says that nobody waits for it, or Config.Hold is
// over; a refusal is an answer. The error is a fault.
func (a *Authentication) Ask(ctx context.Context, token string, gone func() bool) (*authv1.AuthenticateResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Hold)
	defer cancel()
	res, err := a.ask(ctx, token)
	if err == nil || answers(err) {
		return res, err
	}
	a.stats.HeldConnects.Inc()
	defer a.stats.HeldConnects.Dec()
	for pause := firstPause; a.await(ctx, pause, gone); pause = min(2*pause, lastPause) {
		if res, err = a.ask(ctx, token); err == nil || answers(err) {
			break
		}
	}
	return res, err
}

// answers tells whether auth-service has said no, rather than nothing.
func answers(err error) bool {
	_, refused := fault.RefusalOf(err)
	return refused
}

// ask asks again where the answer may have been given from a memory that a revocation has not reached: a token that was issued behind it, to
// a user who is disabled, would not be covered by the revocation.
func (a *Authentication) ask(ctx context.Context, token string) (*authv1.AuthenticateResponse, error) {
	res, err := a.question(ctx, &authv1.AuthenticateRequest{Token: token, Connecting: true})
	if err == nil && a.cfg.Revoked != nil && a.cfg.Revoked(res.GetIdentity().GetUserId()) {
		return a.question(ctx, &authv1.AuthenticateRequest{Token: token, Connecting: true, Fresh: true})
	}
	return res, err
}

func (a *Authentication) answered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failures = 0
	if a.back != nil {
		close(a.back)
		a.back = nil
	}
}

func (a *Authentication) failed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failures++; a.failures >= awayAfter && a.back == nil {
		a.back = make(chan struct{})
	}
}

// await waits until it is time to ask about a CONNECT again; it reports false when that is not to be done any more.
func (a *Authentication) await(ctx context.Context, pause time.Duration, gone func() bool) bool {
	for {
		a.mu.Lock()
		back := a.back
		a.mu.Unlock()
		timer := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // no secret
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-back:
			timer.Stop()
			return run.Pause(ctx, rand.N(spread)) && !gone() //nolint:gosec // no secret
		case <-timer.C:
		}
		switch {
		case gone():
			return false
		case a.turn(time.Now()):
			return true
		}
	}
}

// turn tells whether one more question may be asked now.
func (a *Authentication) turn(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.back == nil {
		return true
	}
	if now.Before(a.turnAt) {
		return false
	}
	a.turnAt = now.Add(turnPause)
	return true
}
