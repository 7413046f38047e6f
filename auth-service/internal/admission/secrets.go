package admission

import (
	"crypto/sha256"

	"github.com/starling-chat/starling/proto/fault"
)

// maxProven bounds the secrets that are known to have been right (twice as many at most).
const maxProven = 20_000

// Hash is the SHA-256 of a secret that nobody guesses: a refresh token or an API key.
type Hash = [sha256.Size]byte

// Shown is a secret that somebody shows, and that may have been counted.
type Shown struct {
	limits  *Attempts
	hash    Hash
	counted string // the key of the limit; "" = not counted
}

// Show counts a secret before it is looked up: no guess is ever right, but each costs a look-up. What has been right before, or
// was given out here, is spared, so that nobody who shares an address is kept out by a neighbour's wrong ones. The fault is
// RateLimited.
func (a *Attempts) Show(hash Hash, from Origin) (Shown, error) {
	s := Shown{limits: a, hash: hash}
	if a.proven.has(hash) {
		return s, nil
	}
	if err := a.secrets.acquire(from.limited); err != nil {
		return s, err
	}
	s.counted = from.limited
	return s, nil
}

// Answered says what the look-up gave: only what was wrong has to count.
func (s Shown) Answered(err error) {
	if fault.KindOf(err) == fault.Unauthenticated {
		s.limits.proven.remove(s.hash)
		return
	}
	if err == nil {
		s.limits.proven.add(s.hash)
	}
	s.limits.secrets.giveBack(s.counted)
}

// Issued notes a secret that is given out.
func (a *Attempts) Issued(hash Hash) { a.proven.add(hash) }
