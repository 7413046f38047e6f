package roundtrip

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/proto/fault"
)

// latePause is what somebody is told who waits for what was not begun in time.
const latePause = 250 * time.Millisecond

// BeginBy runs f on a connection of the pool, and again when it is called again, but not after until: what waited for a connection for so
// long is refused, and so is another try where a connection broke. A zero until is never over.
func BeginBy(until time.Time, pool *pgxpool.Pool, f func(context.Context, *pgxpool.Conn) error) func(context.Context) error {
	late := fault.Retry(fault.Unavailable, "Not done in time", latePause)
	return func(ctx context.Context) error {
		return pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
			if !until.IsZero() && time.Now().After(until) {
				return late
			}
			late = fault.Retry(fault.Timeout, "The outcome is unknown", latePause) // this try may have done it
			return f(ctx, conn)
		})
	}
}
