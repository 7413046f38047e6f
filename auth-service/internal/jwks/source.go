package jwks

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/starling-chat/starling/auth-service/internal/issuers"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/proto/fault"
)

const (
	// A token with an unknown key has the keys read, if there is one left of bucketSize reads, of which one comes back each
	// bucketRefill.
	bucketSize   = 10
	bucketRefill = 5 * time.Second
	// firstRetry is the pause after the first read that failed; it doubles up to lastRetry.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// maxKeyID bounds the kid of a token, in bytes.
	maxKeyID = 512
)

var _ issuers.Keys = (*Source)(nil)

// Config says where the keys of an issuer are.
type Config struct {
	// Issuer is the issuer's name. With discovery the document must have the same one.
	Issuer string
	// URL is the address of the keys; "" asks Discovery.
	URL string
	// Discovery is the address of the document that says where the keys are; "" is the usual place under Issuer.
	Discovery string
	// Refresh is how often the keys are read.
	Refresh time.Duration
	// Read is told of every attempt; nil is not.
	Read func(issuer string, err error)
	Log  *slog.Logger
}

// Source is the keys of one issuer. It is safe for concurrent use.
type Source struct {
	ctx     context.Context // of the process; reads end with it, not with who asks first
	cfg     Config
	client  client
	reads   singleflight.Group
	set     atomic.Pointer[set] // nil until the keys have been read once
	trouble obs.Repeats

	mu     sync.Mutex // guards what follows
	tokens float64    // reads for unknown keys that are left
	at     time.Time  // as of when
}

// New makes a source without keys; Run reads them. What it reads for tokens ends with ctx, too.
func New(ctx context.Context, cfg Config) *Source {
	log := cfg.Log.With(slog.String("issuer", cfg.Issuer))
	cfg.Log = log
	return &Source{
		ctx: ctx, cfg: cfg, client: newClient(), tokens: bucketSize, at: time.Now(),
		trouble: obs.Repeats{Log: log, Message: "the keys of a token issuer cannot be read; those that are known stay good"},
	}
}

// Run reads the keys now and then, until ctx ends.
func (s *Source) Run(ctx context.Context) error {
	retry := firstRetry
	for {
		pause := s.cfg.Refresh + rand.N(s.cfg.Refresh/10+1) //nolint:gosec // jitter, not a secret
		if s.read(ctx) != nil {
			pause, retry = min(pause, retry), min(2*retry, lastRetry)
		} else {
			retry = firstRetry
		}
		if !run.Pause(ctx, pause) {
			<-s.reads.DoChan("", func() (any, error) { return nil, nil }) // one for a token may be under way
			return nil
		}
	}
}

// Key implements issuers.Keys. A token without a kid may be signed by the only key that fits.
func (s *Source) Key(ctx context.Context, id, algorithm string) (crypto.PublicKey, error) {
	known := s.set.Load()
	if key, ok := known.find(id, algorithm); ok {
		return key, nil
	}
	if len(id) > maxKeyID {
		return nil, issuers.ErrKey
	}
	if s.mayRead() {
		err := s.read(ctx)
		if key, ok := s.set.Load().find(id, algorithm); ok {
			return key, nil
		}
		if err != nil { // perhaps the issuer signs with a new key
			return nil, unavailable(err)
		}
		return nil, issuers.ErrKey
	}
	if known == nil {
		return nil, unavailable(errNoKeys)
	}
	return nil, issuers.ErrKey
}

var errNoKeys = errors.New("the keys of the token's issuer have not been read yet")

func unavailable(cause error) error {
	return &fault.Error{Kind: fault.Unavailable, Message: "Service unavailable", RetryAfter: firstRetry, Cause: cause}
}

// mayRead takes a read for an unknown key, if there is one.
func (s *Source) mayRead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.tokens = min(bucketSize, s.tokens+now.Sub(s.at).Seconds()/bucketRefill.Seconds())
	s.at = now
	if s.tokens < 1 {
		return false
	}
	s.tokens--
	return true
}

// read reads the keys, once for all who want them at the same time.
func (s *Source) read(ctx context.Context) error {
	done := s.reads.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(s.ctx, readTimeout)
		defer cancel()
		return nil, s.replace(ctx)
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case result := <-done:
		return result.Err
	}
}

func (s *Source) replace(ctx context.Context) error {
	fresh, err := s.fetch(ctx)
	if s.cfg.Read != nil && s.ctx.Err() == nil {
		s.cfg.Read(s.cfg.Issuer, err)
	}
	switch {
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case err != nil:
		s.trouble.Failed(ctx, err)
		return err
	}
	s.trouble.Over(ctx)
	if before := s.set.Swap(fresh); before == nil || !before.same(fresh) {
		s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "keys of a token issuer read", slog.Int("keys", len(fresh.keys)), slog.Int("skipped", fresh.skipped))
	}
	return nil
}

func (s *Source) fetch(ctx context.Context) (*set, error) {
	address := s.cfg.URL
	if address == "" {
		var err error
		if address, err = s.client.discover(ctx, s.cfg.Discovery, s.cfg.Issuer); err != nil {
			return nil, err
		}
	}
	raw, err := s.client.get(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return parse(raw)
}
