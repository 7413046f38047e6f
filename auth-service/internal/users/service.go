package users

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/proto/fault"
)

const (
	// MaxListed bounds one page of users.
	MaxListed = 1000
	// maxSessions bounds the logins that are listed.
	maxSessions = 100
)

// ErrDeleted is what a Store answers where a user was deleted.
var ErrDeleted = errors.New("user was deleted")

// Store keeps users and logins. It fails with auth.ErrUserNotFound for users that are not there, or no longer.
type Store interface {
	// Upsert makes and changes users, all or none, and gives them in the same order; ErrDeleted where one was deleted.
	Upsert(ctx context.Context, changes []Change) ([]Profile, error)
	Profile(ctx context.Context, id auth.UserID) (Profile, error)
	// Named gives those who have the id or the user name: two at most.
	Named(ctx context.Context, id auth.UserID, username string) ([]Profile, error)
	// Profiles lists users by id.
	Profiles(ctx context.Context, q Query) ([]Profile, error)
	// Change changes a user. The revocation is that of a user who is disabled now and was not before, otherwise zero.
	Change(ctx context.Context, c Change) (Profile, auth.Revocation, error)
	// Delete takes everything of a person from a user.
	Delete(ctx context.Context, id auth.UserID) (auth.Revocation, error)
	// Sessions lists at most limit of a user's logins that have not ended, newest first.
	Sessions(ctx context.Context, id auth.UserID, limit int) ([]Session, error)
	// EndSession ends a login of a user; auth.ErrTokenUnknown when there is none that has not ended.
	EndSession(ctx context.Context, id auth.UserID, login auth.LoginID) (auth.Revocation, error)
}

// Query says which users are listed.
type Query struct {
	After    auth.UserID // those behind it; "" from the first
	Disabled bool        // only those who are disabled
	Limit    int
}

// Revoker tells replicas and gateways about revocations that the store has.
type Revoker interface {
	// Close tells how many sockets were closed.
	Close(ctx context.Context, r auth.Revocation) (closed int)
}

// Announcer tells chat-service of users. What is not heard now is announced again.
type Announcer interface {
	// AnnounceGone returns when a deleted user has left all rooms, or will do so later.
	AnnounceGone(ctx context.Context, id auth.UserID)
	// AnnounceNames returns when chat-service knows the names of some users, or will hear of them later.
	AnnounceNames(ctx context.Context, ids []auth.UserID)
}

// Session is a login that has not ended.
type Session struct {
	ID        auth.LoginID
	CreatedAt time.Time
	UsedAt    time.Time // the last refresh, or the login itself
	ExpiresAt time.Time
	Address   string // from where it began; "" when unknown
}

// Service answers what package users is about. It is safe for concurrent use.
type Service struct {
	store     Store
	revoker   Revoker
	announcer Announcer
	recorder  auth.Recorder
}

// New makes a service.
func New(store Store, revoker Revoker, announcer Announcer, recorder auth.Recorder) *Service {
	return &Service{store: store, revoker: revoker, announcer: announcer, recorder: recorder}
}

// Upsert makes and changes users. Faults: Invalid, TooLarge, Conflict.
func (s *Service) Upsert(ctx context.Context, changes []Change, by auth.By) ([]Profile, error) {
	profiles, err := s.upsert(ctx, changes)
	s.record(ctx, auth.Event{Act: auth.ActUpsert, Count: len(profiles)}, by, err)
	return profiles, err
}

func (s *Service) upsert(ctx context.Context, changes []Change) ([]Profile, error) {
	if len(changes) < 1 || len(changes) > maxUpserts {
		return nil, fault.Newf(fault.Invalid, "users must be 1 to %d", maxUpserts)
	}
	seen := make(map[auth.UserID]bool, len(changes))
	for i := range changes {
		c := &changes[i]
		if seen[c.ID] {
			return nil, fault.Newf(fault.Invalid, "users has the id %q twice", c.ID)
		}
		seen[c.ID] = true
		if err := c.Check(); err != nil {
			return nil, err
		}
	}
	profiles, err := s.store.Upsert(ctx, slices.Clone(changes))
	switch {
	case errors.Is(err, ErrDeleted):
		return nil, fault.New(fault.Conflict, "One of the users was deleted")
	case err != nil:
		return nil, fmt.Errorf("upsert %d users: %w", len(changes), err)
	}
	ids := make([]auth.UserID, len(profiles))
	for i, p := range profiles {
		ids[i] = p.ID
	}
	s.announcer.AnnounceNames(ctx, ids)
	return profiles, nil
}

// Profile gives a user. The fault is NotFound.
func (s *Service) Profile(ctx context.Context, id auth.UserID) (Profile, error) {
	p, err := s.store.Profile(ctx, id)
	if err != nil {
		return Profile{}, notFound(err, "read user", id)
	}
	return p, nil
}

// Find gives the user who has the id or the user name; "" is nobody's. Faults: NotFound, Conflict where these are two users.
func (s *Service) Find(ctx context.Context, id auth.UserID, username string) (Profile, error) {
	list, err := s.store.Named(ctx, id, strings.ToLower(username))
	switch {
	case err != nil:
		return Profile{}, fmt.Errorf("find user: %w", err)
	case len(list) == 0:
		return Profile{}, fault.New(fault.NotFound, "User not found")
	case len(list) > 1:
		return Profile{}, fault.New(fault.Conflict, "The id is one user's and the user name another's")
	}
	return list[0], nil
}

// List lists users by id. The fault is Invalid.
func (s *Service) List(ctx context.Context, q Query) ([]Profile, error) {
	if q.Limit < 1 || q.Limit > MaxListed {
		return nil, fault.Newf(fault.Invalid, "limit must be 1 to %d", MaxListed)
	}
	list, err := s.store.Profiles(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return list, nil
}

// Change changes a user; one who is disabled by it is closed out. Faults: Invalid, TooLarge, NotFound.
func (s *Service) Change(ctx context.Context, c Change, by auth.By) (Profile, error) {
	p, closed, err := s.change(ctx, c)
	act := auth.ActUpdate
	if c.Disabled != nil {
		if act = auth.ActEnable; *c.Disabled {
			act = auth.ActDisable
		}
	}
	s.record(ctx, auth.Event{Act: act, User: c.ID, Closed: closed}, by, err)
	return p, err
}

func (s *Service) change(ctx context.Context, c Change) (p Profile, closed int, err error) {
	if err := c.Check(); err != nil {
		return Profile{}, 0, err
	}
	p, r, err := s.store.Change(ctx, c)
	if err != nil {
		return Profile{}, 0, notFound(err, "change user", c.ID)
	}
	if r.ID != 0 {
		closed = s.revoker.Close(ctx, r)
	}
	if c.Name != nil {
		s.announcer.AnnounceNames(ctx, []auth.UserID{c.ID})
	}
	return p, closed, nil
}

// Delete deletes a user for good. The fault is NotFound.
func (s *Service) Delete(ctx context.Context, id auth.UserID, by auth.By) error {
	closed, err := s.remove(ctx, id)
	s.record(ctx, auth.Event{Act: auth.ActDelete, User: id, Closed: closed}, by, err)
	return err
}

func (s *Service) remove(ctx context.Context, id auth.UserID) (closed int, err error) {
	r, err := s.store.Delete(ctx, id)
	if err != nil {
		return 0, notFound(err, "delete user", id)
	}
	closed = s.revoker.Close(ctx, r)
	s.announcer.AnnounceGone(ctx, id)
	return closed, nil
}

// Sessions lists a user's logins that have not ended, newest first.
func (s *Service) Sessions(ctx context.Context, id auth.UserID) ([]Session, error) {
	list, err := s.store.Sessions(ctx, id, maxSessions)
	if err != nil {
		return nil, fmt.Errorf("list sessions of user %s: %w", id, err)
	}
	return list, nil
}

// EndSession ends one login of a user. The fault is NotFound.
func (s *Service) EndSession(ctx context.Context, id auth.UserID, session, address string) error {
	login, ok := auth.ParseLoginID(session)
	if !ok {
		return errNoSession()
	}
	r, err := s.store.EndSession(ctx, id, login)
	switch {
	case errors.Is(err, auth.ErrTokenUnknown):
		return errNoSession()
	case err != nil:
		return fmt.Errorf("end session of user %s: %w", id, err)
	}
	closed := s.revoker.Close(ctx, r)
	s.record(ctx, auth.Event{Act: auth.ActEndSession, User: id, Login: login, Closed: closed}, auth.By{Address: address}, nil)
	return nil
}

func errNoSession() error { return fault.New(fault.NotFound, "Session not found") }

func notFound(err error, act string, id auth.UserID) error {
	if errors.Is(err, auth.ErrUserNotFound) {
		return fault.New(fault.NotFound, "User not found")
	}
	return fmt.Errorf("%s %s: %w", act, id, err)
}

func (s *Service) record(ctx context.Context, e auth.Event, by auth.By, err error) {
	e.Result, e.Key, e.Address = auth.ResultOf(err), by.Key, by.Address
	s.recorder.Record(ctx, e)
}
