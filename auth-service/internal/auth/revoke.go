package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

const (
	// announceTimeout bounds the wait for the bus; what is not announced by then the sweep announces.
	announceTimeout = time.Second
	// unannouncedAge leaves the replica that committed a revocation the time to announce it.
	unannouncedAge = 400 * time.Millisecond
	// maxRevocations bounds one page of the log.
	maxRevocations = 1000
)

// By is the backend that asks for something.
type By struct {
	Key     string // the name of its API key
	Address string // "" when unknown
}

// RevokeUser ends all tokens of a user and tells how many sockets were closed. The fault is NotFound.
func (s *Service) RevokeUser(ctx context.Context, id UserID, by By) (closed int, err error) {
	closed, err = s.revokeUser(ctx, id)
	s.recorder.Record(ctx, Event{
		Act: ActRevoke, Result: ResultOf(err), User: id, Key: by.Key, Address: by.Address, Closed: closed,
	})
	return closed, err
}

func (s *Service) revokeUser(ctx context.Context, id UserID) (closed int, err error) {
	r, err := s.store.RevokeUser(ctx, id)
	switch {
	case errors.Is(err, ErrUserNotFound):
		return 0, fault.New(fault.NotFound, "User not found")
	case err != nil:
		return 0, fmt.Errorf("revoke user %s: %w", id, err)
	}
	return s.Close(ctx, r), nil
}

// Close tells the bus about a committed revocation, as announce does, and how many sockets were closed.
func (s *Service) Close(ctx context.Context, r Revocation) (closed int) {
	s.Forget(r)
	closed, err := s.announcer.AnnounceAndCount(ctx, r)
	s.announced(ctx, err, r)
	return closed
}

// announce tells the bus about a committed revocation. It cannot fail: what the bus did not take, the sweep repeats.
func (s *Service) announce(ctx context.Context, r Revocation) {
	s.Forget(r)
	// The caller may be gone; the revocation is not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	s.announced(ctx, s.announcer.Announce(ctx, r), r)
}

func (s *Service) announced(ctx context.Context, err error, r Revocation) {
	if err == nil {
		err = s.store.MarkAnnounced(ctx, []int64{r.ID})
	}
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "revocation not announced, will be repeated",
			slog.Int64("revocation_id", r.ID), slog.Any("error", err))
	}
}

// sweep announces revocations of replicas that died, or had no bus, between commit and announcement. Two replicas may
// announce the same one: gateways take that as once.
func (s *Service) sweep(ctx context.Context) error {
	pending, err := s.store.Unannounced(ctx, unannouncedAge, maxRevocations)
	if err != nil {
		return fmt.Errorf("list unannounced revocations: %w", err)
	}
	var done []int64
	for _, r := range pending {
		if err = s.announcer.Announce(ctx, r); err != nil {
			break
		}
		done = append(done, r.ID)
	}
	if len(done) > 0 {
		if err := s.store.MarkAnnounced(ctx, done); err != nil {
			return fmt.Errorf("mark revocations: %w", err)
		}
	}
	return err
}

// Revocations lists those after a position, oldest first; after -1 gives only the newest position. limit 0 means 1000, the
// most. The fault is Invalid.
func (s *Service) Revocations(ctx context.Context, after int64, limit int) (RevocationPage, error) {
	switch {
	case after < -1:
		return RevocationPage{}, fault.New(fault.Invalid, "afterId must be -1 or more")
	case limit < 0 || limit > maxRevocations:
		return RevocationPage{}, fault.Newf(fault.Invalid, "limit must be 1 to %d", maxRevocations)
	case after == -1:
		limit = 0
	case limit == 0:
		limit = maxRevocations
	}
	page, err := s.store.Revocations(ctx, after, limit)
	if err != nil {
		return RevocationPage{}, fmt.Errorf("list revocations: %w", err)
	}
	return page, nil
}
