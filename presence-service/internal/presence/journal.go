package presence

import (
	"context"
	"log/slog"
	"time"
)

const (
	flushEvery    = 2 * time.Second // departures reach the store within this
	sightingEvery = time.Minute     // a crash loses at most this much of who is online
	flushBatch    = 1000            // rows a statement
	lastFlush     = 3 * time.Second // bounds the flush at shutdown
)

// Journal writes when users were last seen, while its replica leads: departures soon, those online once a minute.
type Journal struct {
	Registry   *Registry
	Leadership *Leadership
	Store      LastSeenStore
	Log        *slog.Logger
	Off        bool // nothing is written: nobody is to know

	// Owned by Run.
	sighted time.Time // the last time that all users online were written
	failing bool
}

// Run works until ctx ends, and flushes once more then.
func (j *Journal) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			if j.leads() {
				j.report(ctx, j.flush(last))
			}
			return nil
		case <-tick.C:
		}
		if !j.leads() {
			// Long enough for a new leader to find what the old one may not have written.
			j.Registry.Forget(time.Now().Add(-2 * j.Registry.cfg.LeaseExpiry))
			j.sighted = time.Time{}
			continue
		}
		err := j.flush(ctx)
		if now := time.Now(); err == nil && now.Sub(j.sighted) >= sightingEvery {
			if err = j.sight(ctx, now); err == nil {
				j.sighted = now
			}
		}
		j.report(ctx, err)
	}
}

func (j *Journal) leads() bool {
	leads, _ := j.Leadership.Leads(time.Now())
	return leads && !j.Off && j.Registry.IsWarm()
}

// flush writes the departures.
func (j *Journal) flush(ctx context.Context) error {
	for {
		batch := j.Registry.Departures(flushBatch)
		if len(batch) == 0 {
			return nil
		}
		if err := j.Store.SaveSightings(ctx, batch); err != nil {
			return err
		}
		j.Registry.Stored(batch)
	}
}

// sight writes that the users online are being seen.
func (j *Journal) sight(ctx context.Context, now time.Time) error {
	batch := make([]Sighting, 0, flushBatch)
	for _, id := range j.Registry.Users() {
		if batch = append(batch, Sighting{id, now}); len(batch) == flushBatch {
			if err := j.Store.SaveSightings(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return j.Store.SaveSightings(ctx, batch)
}

// report logs the beginning and the end of a failure, not every try.
func (j *Journal) report(ctx context.Context, err error) {
	switch {
	case err != nil && !j.failing:
		j.Log.LogAttrs(ctx, slog.LevelWarn, "last seen is not written", slog.Any("error", err))
	case err == nil && j.failing:
		j.Log.LogAttrs(ctx, slog.LevelInfo, "last seen is written again")
	}
	j.failing = err != nil
}
