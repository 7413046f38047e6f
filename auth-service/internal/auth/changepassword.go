package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/admission"
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

// SetPassword gives a user another password in the name of the operator, who knows no old one, and ends all logins. Faults: Invalid,
// Forbidden, NotFound.
func (s *Service) SetPassword(ctx context.Context, id UserID, typed string, by By) error {
	closed, err := s.setPassword(ctx, id, typed)
	s.recorder.Record(ctx, Event{Act: ActPassword, Result: ResultOf(err), User: id, Key: by.Key, Address: by.Address, Closed: closed})
	return err
}

func (s *Service) setPassword(ctx context.Context, id UserID, typed string) (closed int, err error) {
	username, err := s.usernameOf(ctx, id)
	if err != nil {
		return 0, err
	}
	chosen, err := newPassword(typed, username)
	if err != nil {
		return 0, err
	}
	hash, err := s.passwords.hash(ctx, admission.Party{}, chosen)
	if err != nil {
		return 0, err
	}
	r, err := s.store.SetPassword(ctx, id, hash)
	switch {
	case errors.Is(err, ErrUserNotFound): // deleted meanwhile
		return 0, fault.New(fault.NotFound, "User not found")
	case err != nil:
		return 0, fmt.Errorf("set password of user %s: %w", id, err)
	}
	return s.Close(ctx, r), nil
}

// usernameOf gives the name by which a user logs in with a password. Faults: NotFound, Forbidden.
func (s *Service) usernameOf(ctx context.Context, id UserID) (string, error) {
	list, err := s.Users(ctx, []UserID{id})
	switch {
	case err != nil:
		return "", err
	case len(list) == 0:
		return "", fault.New(fault.NotFound, "User not found")
	case list[0].Username == "":
		return "", fault.New(fault.Forbidden, "The user has no password here")
	}
	return list[0].Username, nil
}

func (s *Service) changePassword(ctx context.Context, id UserID, login LoginID, old, replacement, address string) (int, error) {
	username, err := s.usernameOf(ctx, id)
	if err != nil {
		return 0, err
	}
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
