package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

// maxEndedAtOnce is how many ended logins a change of password announces itself; the sweep announces the others.
const maxEndedAtOnce = 50

// ChangePassword gives a user another password and ends all other logins; it tells how many. A try with a wrong password counts like a
// login. Faults: Invalid, Forbidden, RateLimited, NotFound.
func (s *Service) ChangePassword(ctx context.Context, id UserID, login LoginID, old, replacement, address string) (ended int, err error) {
	ended, err = s.changePassword(ctx, id, login, old, replacement, address)
	s.recorder.Record(ctx, Event{Act: ActPassword, Result: ResultOf(err), User: id, Login: login, Address: address, Count: ended})
	return ended, err
}

func (s *Service) changePassword(ctx context.Context, id UserID, login LoginID, old, replacement, address string) (int, error) {
	list, err := s.Users(ctx, []UserID{id})
	switch {
	case err != nil:
		return 0, err
	case len(list) == 0:
		return 0, fault.New(fault.NotFound, "User not found")
	case list[0].Username == "":
		return 0, fault.New(fault.Forbidden, "The user has no password here")
	}
	username := list[0].Username
	chosen, err := newPassword(replacement, username)
	if err != nil {
		return 0, err
	}
	from := s.attempts.From(address)
	try, err := s.attempts.Login(username, from)
	if err != nil {
		return 0, err
	}
	given, asTyped, err := parsePassword(old)
	if err != nil {
		given, asTyped = "", ""
	}
	u, stored, err := s.checkCredentials(ctx, try.Party, username, given, asTyped)
	if fault.KindOf(err) != fault.Unauthenticated {
		try.Forgive()
	}
	switch {
	case fault.KindOf(err) == fault.Unauthenticated:
		return 0, fault.New(fault.Forbidden, "The old password is wrong")
	case err != nil:
		return 0, err
	case u.ID != id: // the name went to somebody else meanwhile
		return 0, fault.New(fault.NotFound, "User not found")
	}
	hash, err := s.passwords.hash(ctx, try.Party, chosen)
	if err != nil {
		return 0, err
	}
	over, err := s.store.ChangePassword(ctx, id, login, stored, hash)
	switch {
	case errors.Is(err, ErrStale):
		return 0, fault.Retry(fault.Unavailable, "The password changed meanwhile, try again", 100*time.Millisecond)
	case err != nil:
		return 0, fmt.Errorf("change password of user %s: %w", id, err)
	}
	for i, r := range over {
		if s.Forget(r); i < maxEndedAtOnce {
			s.announce(ctx, r)
		}
	}
	return len(over), nil
}
