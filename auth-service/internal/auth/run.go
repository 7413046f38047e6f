package auth

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

const (
	maxReloadInterval = 30 * time.Second
	sweepInterval     = 500 * time.Millisecond
	pruneInterval     = 10 * time.Minute
)

// reloadInterval is how often each replica looks for keys of the others: twice at least before a key signs.
func (k Keys) reloadInterval() time.Duration { return min(maxReloadInterval, k.Overlap/3) }

// Run does what has to be done now and then, until ctx ends: key rotation, announcements that were missed, pruning. It
// goes on through outages.
func (s *Service) Run(ctx context.Context) error {
	// Replicas that start together part.
	reload := s.cfg.Keys.reloadInterval()
	keys := time.NewTicker(reload + rand.N(reload/10)) //nolint:gosec // jitter, not a secret
	defer keys.Stop()
	prune := time.NewTicker(pruneInterval + rand.N(pruneInterval/10)) //nolint:gosec // jitter, not a secret
	defer prune.Stop()
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	outage := false
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			err = s.sweep(ctx)
		case <-keys.C:
			err = s.keys.refresh(ctx)
		case <-prune.C:
			err = s.prune(ctx)
		}
		// One line when it begins to fail, not two a second.
		if err != nil && !outage && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "upkeep failed, will be repeated",
				slog.String("kind", string(fault.KindOf(err))), slog.Any("error", err))
		}
		outage = err != nil
	}
}

func (s *Service) prune(ctx context.Context) error {
	n, err := s.store.Prune(ctx, s.cfg.KeepRevocations)
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if n > 0 {
		s.log.LogAttrs(ctx, slog.LevelDebug, "pruned", slog.Int64("rows", n))
	}
	return nil
}
