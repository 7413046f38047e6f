// Package apikeys makes, lists and removes the API keys of other backends. A key is 256 random bits; the store has its SHA-256, so that
// a copy of the store opens nothing. What a key that is shown may do package auth tells.
package apikeys

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/proto/fault"
)

const (
	// Prefix begins every key that is made here, so that people and scanners know one when they see it.
	Prefix = "starling_"
	// MaxKeys bounds the keys that there are.
	MaxKeys = 500
	// maxName bounds the name of a key, in characters.
	maxName = 64
	keySize = 32
)

// What a Store answers besides faults.
var (
	ErrExists  = errors.New("there is a key of that name")
	ErrTooMany = errors.New("there are too many keys")
)

// Key is what is known of an API key.
type Key struct {
	auth.APIKey
	CreatedAt time.Time
	UsedAt    time.Time // to the minute; zero when it never was
}

// Store keeps keys.
type Store interface {
	// AddKey fails with ErrExists and ErrTooMany.
	AddKey(ctx context.Context, key auth.APIKey, hash auth.TokenHash, most int) (Key, error)
	// Keys lists all keys by name.
	Keys(ctx context.Context) ([]Key, error)
	// RemoveKey fails with auth.ErrKeyUnknown.
	RemoveKey(ctx context.Context, name string) error
}

// Service answers what package apikeys is about. It is safe for concurrent use.
type Service struct {
	store    Store
	scopes   []string // that there are
	recorder auth.Recorder
}

// New makes a service; scopes are those that keys may have.
func New(store Store, scopes []string, recorder auth.Recorder) *Service {
	return &Service{store: store, scopes: scopes, recorder: recorder}
}

// Add makes a key in the name of somebody with some scopes, and gives it: nobody can do so later. Faults: Invalid, Forbidden, Conflict.
func (s *Service) Add(ctx context.Context, key auth.APIKey, mine []string, by auth.By) (secret string, made Key, err error) {
	secret, made, err = s.add(ctx, key, mine)
	e := auth.Event{Act: auth.ActKeyAdd, Result: auth.ResultOf(err), Key: by.Key, Address: by.Address}
	if err == nil {
		e.Name = key.Name
	}
	s.recorder.Record(ctx, e)
	return secret, made, err
}

func (s *Service) add(ctx context.Context, key auth.APIKey, mine []string) (string, Key, error) {
	if err := s.check(key, mine); err != nil {
		return "", Key{}, err
	}
	key.Scopes = slices.Compact(slices.Sorted(slices.Values(key.Scopes)))
	random := make([]byte, keySize)
	_, _ = rand.Read(random) // never fails: it ends the process where the system has no randomness
	secret := Prefix + base64.RawURLEncoding.EncodeToString(random)
	made, err := s.store.AddKey(ctx, key, sha256.Sum256([]byte(secret)), MaxKeys)
	switch {
	case errors.Is(err, ErrExists):
		return "", Key{}, fault.New(fault.Conflict, "There is a key of that name")
	case errors.Is(err, ErrTooMany):
		return "", Key{}, fault.Newf(fault.Conflict, "There are %d keys already: remove some", MaxKeys)
	case err != nil:
		return "", Key{}, fmt.Errorf("add API key: %w", err)
	}
	return secret, made, nil
}

func (s *Service) check(key auth.APIKey, mine []string) error {
	switch {
	case !validName(key.Name):
		return fault.Newf(fault.Invalid, "name must be 1 to %d printable characters", maxName)
	case key.Name == auth.SettingsKey:
		return fault.Newf(fault.Invalid, "name must not be %s, which is the key of the settings", auth.SettingsKey)
	case len(key.Scopes) == 0:
		return fault.New(fault.Invalid, "scopes must have at least one")
	case !key.Expires.IsZero() && !key.Expires.After(time.Now()):
		return fault.New(fault.Invalid, "expiresAt must be in the future")
	}
	for _, scope := range key.Scopes {
		if !slices.Contains(s.scopes, scope) {
			return fault.Newf(fault.Invalid, "scopes must be of %v", s.scopes)
		}
		if !slices.Contains(mine, scope) { // otherwise a key would be as good as all of them
			return fault.Newf(fault.Forbidden, "The API key lacks the scope %s, which the new one is to have", scope)
		}
	}
	return nil
}

func validName(s string) bool {
	if s == "" || !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxName {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// List lists all keys by name.
func (s *Service) List(ctx context.Context) ([]Key, error) {
	keys, err := s.store.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list API keys: %w", err)
	}
	return keys, nil
}

// Remove removes a key. The fault is NotFound.
func (s *Service) Remove(ctx context.Context, name string, by auth.By) error {
	err := s.store.RemoveKey(ctx, name)
	switch {
	case errors.Is(err, auth.ErrKeyUnknown):
		return fault.New(fault.NotFound, "API key not found")
	case err != nil:
		return fmt.Errorf("remove API key: %w", err)
	}
	s.recorder.Record(ctx, auth.Event{Act: auth.ActKeyRemove, Result: auth.ResultOK, Key: by.Key, Address: by.Address, Name: name})
	return nil
}
