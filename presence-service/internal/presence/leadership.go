package presence

import (
	"sync"
	"time"
)

// Claim is what a replica knows about the leader's lock in PostgreSQL.
type Claim int

// The claims.
const (
	ClaimUnknown Claim = iota // PostgreSQL is away
	ClaimHeld                 // this replica holds the lock
	ClaimDenied               // another replica holds it
)

// Leadership decides whether this replica publishes and writes. The lock in PostgreSQL decides while PostgreSQL is there.
// While it is away, a replica stands in when it hears no better one publish for a refresh and a bit (Config.silence):
//
//	held     leads
//	denied   follows
//	unknown  leads, unless it heard a holder, or a stand-in with a lower id, within that time
//
// So the leader goes on when PostgreSQL goes away, and a leader is found when PostgreSQL is away at the start. For moments
// two replicas may lead; they say the same, and gateways and last_seen tolerate repeats.
type Leadership struct {
	replica string
	silence time.Duration

	mu     sync.Mutex // guards all below
	claim  Claim
	better time.Time // when a better replica was last heard
}

// NewLeadership makes the leadership of a replica, which begins to listen at now.
func NewLeadership(cfg Config, replica string, now time.Time) *Leadership {
	return &Leadership{replica: replica, silence: cfg.withDefaults().silence(), better: now}
}

// Replica gives this replica's id.
func (l *Leadership) Replica() string { return l.replica }

// SetClaim tells what became of the lock.
func (l *Leadership) SetClaim(c Claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claim = c
}

// Heard tells that a replica published, as the lock's holder or as a stand-in.
func (l *Leadership) Heard(replica string, standIn bool, now time.Time) {
	if replica == l.replica || standIn && replica > l.replica {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.better = now
}

// Leads tells whether this replica leads, and whether it only stands in.
func (l *Leadership) Leads(now time.Time) (leads, standIn bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.claim {
	case ClaimHeld:
		return true, false
	case ClaimDenied:
		return false, false
	case ClaimUnknown:
	}
	return now.Sub(l.better) >= l.silence, true
}
