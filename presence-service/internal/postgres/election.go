package postgres

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/presence-service/internal/presence"
)

const (
	electEvery   = time.Second
	electTimeout = 2 * time.Second // of one try, connecting included
)

// Election tells Leadership what became of the leader's lock: a session-level advisory lock on a connection of its own,
// so that PostgreSQL gives it away the moment the leader's process dies.
type Election struct {
	// Pool says how to connect; none of its connections are used.
	Pool       *pgxpool.Pool
	Schema     string // replicas with the same schema elect together
	Leadership *presence.Leadership
	// Begin delays the candidacy until a replica knows enough to lead.
	Begin <-chan struct{}
	Log   *slog.Logger

	// Owned by Run.
	conn *pgx.Conn
	held bool
	away bool
}

// Run stands for election until ctx ends, then gives the lock back.
func (e *Election) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-e.Begin:
	}
	tick := time.NewTicker(electEvery)
	defer tick.Stop()
	for {
		e.Leadership.SetClaim(e.claim(ctx))
		select {
		case <-ctx.Done():
			e.hangUp(context.WithoutCancel(ctx))
			e.Leadership.SetClaim(presence.ClaimDenied)
			return nil
		case <-tick.C:
		}
	}
}

// claim tries to get the lock, or makes sure that it is still there.
func (e *Election) claim(ctx context.Context) presence.Claim {
	ctx, cancel := context.WithTimeout(ctx, electTimeout)
	defer cancel()
	err := e.try(ctx)
	if err != nil {
		e.hangUp(context.WithoutCancel(ctx))
	}
	if away := err != nil; away != e.away {
		e.away = away
		if away {
			e.Log.LogAttrs(ctx, slog.LevelWarn, "leader lock out of reach", slog.Any("error", err))
		} else {
			e.Log.LogAttrs(ctx, slog.LevelInfo, "leader lock within reach", slog.Bool("held", e.held))
		}
	}
	switch {
	case err != nil:
		return presence.ClaimUnknown
	case e.held:
		return presence.ClaimHeld
	}
	return presence.ClaimDenied
}

const sqlTryLock = `SELECT pg_try_advisory_lock($1)`

func (e *Election) try(ctx context.Context) error {
	if e.conn == nil {
		conn, err := pgx.ConnectConfig(ctx, e.Pool.Config().ConnConfig)
		if err != nil {
			return fmt.Errorf("connect for the leader lock: %w", err)
		}
		e.conn = conn
	}
	if e.held {
		// Locking again would nest. A former primary keeps the lock for this replica while another one takes it on the new one.
		if err := pg.AssertWritable(ctx, e.conn.PgConn()); err != nil {
			return fmt.Errorf("keep the leader lock: %w", err)
		}
		return nil
	}
	if err := e.conn.QueryRow(ctx, sqlTryLock, lockID(e.Schema)).Scan(&e.held); err != nil {
		return fmt.Errorf("try the leader lock: %w", err)
	}
	return nil
}

func (e *Election) hangUp(ctx context.Context) {
	e.held = false
	if e.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, electTimeout)
	defer cancel()
	_ = e.conn.Close(ctx) // the server frees the lock either way
	e.conn = nil
}

func lockID(schema string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("starling presence leader " + schema))
	return int64(h.Sum64() >> 1)
}
