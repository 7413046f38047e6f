//go:build linux

package scenario

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/starling-chat/starling/test/internal/launch"
)

// readyPatience is how long a system may take until it answers a user.
const readyPatience = time.Minute

// Await returns when a user can connect and join a room: a gateway that answers does not mean that all services do.
func (b *Bench) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	attempt := 0
	err := launch.Await(ctx, launch.Poll, func(ctx context.Context) error {
		attempt++
		return b.try(ctx, attempt)
	})
	if err != nil {
		return fmt.Errorf("wait until %s serves: %w", b.System.Name, err)
	}
	return nil
}

func (b *Bench) try(ctx context.Context, attempt int) error {
	c, err := b.newCrowd(1)
	if err != nil {
		return err
	}
	defer c.close()
	if _, err := c.connect(ctx, 1); err != nil {
		return fmt.Errorf("%w: %q", err, c.problems.list())
	}
	if err := c.join(ctx, b.roomNames("ready"+strconv.Itoa(attempt), 1)); err != nil {
		return fmt.Errorf("%w: %q", err, c.problems.list())
	}
	return nil
}
