package presence

import (
	"context"
	"time"
)

// endedKeep is how long ended gateways are remembered, in lease expiries.
const endedKeep = 6

// Sweep lets leases and graces run out. It must be called often (several times per quarter of a lease expiry), and only
// when the link to the gateways is proven at now: silence over a broken link says nothing about the gateways. A gap
// between two calls (the link was down, the process was stopped) prolongs everything by its length.
//
// The first call begins the warming, which ends when all gateways heard in the first heartbeat have given their snapshot,
// at the latest after one lease expiry.
func (r *Registry) Sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun.IsZero() {
		r.begun, r.swept = now, now
	}
	if gap := now.Sub(r.swept); gap > r.cfg.LeaseExpiry/4 {
		r.prolong(gap, now)
	}
	r.swept = now
	for _, g := range r.gateways {
		if now.Sub(g.heard) >= r.cfg.LeaseExpiry {
			r.remove(g, now, g.heard, 0) // the expiry was longer than any grace
		}
	}
	for id, e := range r.ended {
		if now.Sub(e.at) >= endedKeep*r.cfg.LeaseExpiry {
			delete(r.ended, id)
		}
	}
	r.endGraces(now)
	r.warmUp(now)
}

func (r *Registry) prolong(gap time.Duration, now time.Time) {
	later := func(t time.Time) time.Time {
		if t = t.Add(gap); t.After(now) {
			return now
		}
		return t
	}
	r.begun = later(r.begun)
	for _, g := range r.gateways {
		g.heard = later(g.heard)
	}
	// Reconnects of those in grace may have been missed: their gateways have a heartbeat's time to tell.
	until := now.Add(r.cfg.listen())
	for i, e := range r.graces {
		if e.user.until.Equal(e.until) {
			e.user.until = until
			r.graces[i].until = until
		}
	}
}

func (r *Registry) endGraces(now time.Time) {
	n := 0
	for n < len(r.graces) && !now.Before(r.graces[n].until) {
		if e := r.graces[n]; e.user.until.Equal(e.until) {
			r.depart(e.user, e.left, now)
		}
		n++
	}
	clear(r.graces[:n])
	if r.graces = r.graces[n:]; len(r.graces) == 0 {
		r.graces = nil
	}
}

func (r *Registry) warmUp(now time.Time) {
	select {
	case <-r.warm:
		return
	default:
	}
	listened := r.begun.Add(r.cfg.listen())
	if now.Before(listened) {
		return
	}
	if now.Sub(r.begun) < r.cfg.LeaseExpiry {
		for _, g := range r.gateways {
			if g.awaiting && g.heardFirst.Before(listened) {
				return
			}
		}
	}
	close(r.warm)
	r.wake()
}

// Warm is closed when the picture is complete after the start.
func (r *Registry) Warm() <-chan struct{} { return r.warm }

// IsWarm tells whether the picture is complete.
func (r *Registry) IsWarm() bool {
	select {
	case <-r.warm:
		return true
	default:
		return false
	}
}

// Ready is ErrWarming until the picture is complete.
func (r *Registry) Ready(context.Context) error {
	if !r.IsWarm() {
		return ErrWarming
	}
	return nil
}
