package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/starling-chat/starling/auth-service/internal/admission"
)

// Seed is what exists after the start.
type Seed struct {
	// Users are created unless the username exists; existing ones stay as they are.
	Users []SeedUser
	// Admin, where given, is created; an existing user of that name becomes an admin with this password and loses its
	// tokens, so that nobody who registered the name before keeps it. One who is an admin already stays as it is.
	Admin *SeedUser
	// APIKey, where given, is the secret of the key "default", which has Scopes.
	APIKey string
	Scopes []string
}

// SeedUser is a user that the operator defines.
type SeedUser struct {
	Username, Password, Name string
	Role                     Role
}

// SettingsKey is the name of the API key of the settings.
const SettingsKey = "default"

// Check finds mistakes before anything is stored.
func (s Seed) Check() error {
	users := s.Users
	if s.Admin != nil {
		users = append(slices.Clip(users), *s.Admin)
	}
	for _, u := range users {
		user, err := newUser(u.Username, u.Name, u.Role)
		if err != nil {
			return err
		}
		if _, err := newPassword(u.Password, user.Username); err != nil {
			return err
		}
		if _, ok := ParseRole(string(u.Role)); !ok {
			return fmt.Errorf("role %q is neither %s nor %s", u.Role, RoleUser, RoleAdmin)
		}
	}
	if len(s.APIKey) > maxAPIKey {
		return fmt.Errorf("the API key is longer than %d bytes", maxAPIKey)
	}
	return nil
}

// Prepare loads or makes the signing keys and creates what the seed says. It may be repeated, and run in several replicas
// at once. It fails with Unavailable while the database is away.
func (s *Service) Prepare(ctx context.Context) error {
	if err := s.keys.refresh(ctx); err != nil {
		return err
	}
	if s.cfg.Seed.APIKey != "" {
		key := APIKey{Name: SettingsKey, Scopes: s.cfg.Seed.Scopes}
		if err := s.store.PutAPIKey(ctx, key, sha256.Sum256([]byte(s.cfg.Seed.APIKey))); err != nil {
			return fmt.Errorf("store the default API key: %w", err)
		}
	}
	for _, u := range s.cfg.Seed.Users {
		if err := s.seedUser(ctx, u, false); err != nil {
			return err
		}
	}
	if s.cfg.Seed.Admin != nil {
		return s.seedUser(ctx, *s.cfg.Seed.Admin, true)
	}
	return nil
}

func (s *Service) seedUser(ctx context.Context, seed SeedUser, promote bool) error {
	u, err := newUser(seed.Username, seed.Name, seed.Role)
	if err != nil {
		return err
	}
	chosen, err := newPassword(seed.Password, u.Username)
	if err != nil {
		return err
	}
	for {
		have, _, err := s.store.Credentials(ctx, u.Username)
		switch {
		case err == nil && (!promote || have.Role == RoleAdmin):
			return nil
		case err != nil && !errors.Is(err, ErrUserNotFound):
			return fmt.Errorf("look for user %s: %w", u.Username, err)
		}
		hash, hashErr := s.passwords.hash(ctx, admission.Party{}, chosen)
		if hashErr != nil {
			return hashErr
		}
		if err == nil {
			return s.promote(ctx, have, hash)
		}
		switch err = s.store.CreateUser(ctx, u, hash); {
		case errors.Is(err, ErrUsernameTaken):
			continue // another replica, or somebody who registered this moment
		case err != nil:
			return fmt.Errorf("create user %s: %w", u.Username, err)
		}
		s.recorder.Record(ctx, Event{Act: ActCreate, Result: ResultOK, User: u.ID})
		return nil
	}
}

func (s *Service) promote(ctx context.Context, u User, hash string) error {
	r, err := s.store.Promote(ctx, u.ID, hash)
	switch {
	case errors.Is(err, ErrStale):
		return nil // another replica was faster
	case err != nil:
		return fmt.Errorf("make %s an admin: %w", u.Username, err)
	}
	s.announce(ctx, r)
	s.recorder.Record(ctx, Event{Act: ActPromote, Result: ResultOK, User: u.ID})
	return nil
}
