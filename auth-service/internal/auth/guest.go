package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

// A guest is a user without an account: made by one request, with a login like others'. When that ends nobody can be the guest again, so
// its login is its life: it is refreshed as long as the guest comes back, and with its last trace the guest is forgotten, here and in rooms.

// Guests says whether guests are let in, and for how long.
type Guests struct {
	On  bool
	TTL time.Duration // life of the refresh token of a guest
}

// guestName is how a guest is shown who does not say a name.
const guestName = "Guest"

// ErrNoGuests is what a Store answers where a guest would be let in who may not.
var ErrNoGuests = errors.New("guests are not let in")

// Guest tells whether the id is that of a guest.
func (id UserID) Guest() bool { return limits.IsGuestID(string(id)) }

// Guest makes a guest and logs it in. name is shown to others, "" for a name that all guests have. address is the client's IP, "" when unknown.
// Faults: Forbidden where guests are not let in, RateLimited.
func (s *Service) Guest(ctx context.Context, name, address string) (Pair, error) {
	pair, err := s.guest(ctx, name, address)
	s.recorder.Record(ctx, Event{Act: ActGuest, Result: ResultOf(err), User: pair.User.ID, Login: pair.login, Address: address})
	return pair, err
}

func (s *Service) guest(ctx context.Context, name, address string) (Pair, error) {
	if !s.cfg.Guests.On {
		return Pair{}, errNoGuests()
	}
	if err := s.attempts.Guest(s.attempts.From(address)); err != nil {
		return Pair{}, err
	}
	// Before the guest is made: an answer without keys to sign it would be lost.
	if _, err := s.keys.current(); err != nil {
		return Pair{}, err
	}
	u := User{ID: UserID(limits.GuestID(newID())), Name: displayName(name, guestName), Role: RoleGuest}
	token := newRefreshToken()
	grant, err := s.store.BeginGuest(ctx, u, NewLogin{ID: LoginID(newID()), Token: token.hash(), TTL: s.cfg.Guests.TTL, Address: address})
	if err != nil {
		return Pair{}, fmt.Errorf("make guest: %w", err)
	}
	return s.pair(grant, token)
}

func errNoGuests() error { return fault.New(fault.Forbidden, "Guests are not let in") }

// keptOut tells that a user is a guest while guests are not let in: the operator who turns them off means those who are there as well.
func (s *Service) keptOut(id UserID) bool { return id.Guest() && !s.cfg.Guests.On }
