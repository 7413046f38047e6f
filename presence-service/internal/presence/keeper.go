package presence

import (
	"context"
	"log/slog"
	"time"
)

const (
	coalesceFor = 20 * time.Millisecond // the first change after quiet waits so long for others that come with it
	maxSweep    = 250 * time.Millisecond
)

// Keeper sweeps the registry in every replica, and publishes who is online while its replica leads.
type Keeper struct {
	Registry   *Registry
	Leadership *Leadership
	Publisher  Publisher
	Link       Link
	Log        *slog.Logger

	// Owned by Run.
	leading bool
	sent    time.Time // the last message, or try; zero = none since the lead was taken
	listed  time.Time // the last one with the list
	whole   bool      // the list in it was complete
}

// Run works until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	sweep := time.NewTicker(min(maxSweep, k.Registry.cfg.LeaseExpiry/20))
	defer sweep.Stop()
	due := time.NewTimer(k.Registry.cfg.RefreshEvery)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			if k.Link.Prove(ctx) == nil {
				k.Registry.Sweep(time.Now())
			}
		case <-k.Registry.Changes():
		case <-due.C:
		}
		due.Reset(k.publish(ctx))
	}
}

// publish sends a message when one is due and tells when to look again.
func (k *Keeper) publish(ctx context.Context) time.Duration {
	now := time.Now()
	leads, standIn := k.Leadership.Leads(now)
	if leads = leads && k.Registry.IsWarm(); leads != k.leading {
		k.leading, k.sent = leads, time.Time{}
		k.Log.LogAttrs(ctx, slog.LevelInfo, "leadership changed", slog.Bool("leading", leads), slog.Bool("stand_in", standIn))
	}
	if !leads {
		return k.Registry.cfg.RefreshEvery
	}
	if wait := k.due().Sub(now); wait > 0 {
		return wait
	}
	// Where the list names nobody, it only has to say now and then who leads: changes are for those who watch.
	online := k.Registry.Online()
	online.Listed = online.Complete || k.whole || k.sent.IsZero() || now.Sub(k.listed) >= k.Registry.cfg.RefreshEvery
	if err := k.Publisher.PublishOnline(ctx, online, standIn); err != nil {
		// The link says more about it; the next try is due in PublishEvery.
		k.Log.LogAttrs(ctx, slog.LevelDebug, "publish failed", slog.Any("error", err))
	} else {
		k.Registry.Published(online, now)
	}
	k.sent = now
	if online.Listed {
		k.listed, k.whole = now, online.Complete
	}
	return max(k.due().Sub(now), coalesceFor)
}

// due is when the next message goes out: zero time means now.
func (k *Keeper) due() time.Time {
	if k.sent.IsZero() {
		return k.sent
	}
	refresh, next := k.listed.Add(k.Registry.cfg.RefreshEvery), k.sent.Add(k.Registry.cfg.PublishEvery)
	since, pending := k.Registry.Pending()
	if !pending {
		return refresh
	}
	if soon := since.Add(coalesceFor); soon.After(next) {
		return soon
	}
	return next
}
