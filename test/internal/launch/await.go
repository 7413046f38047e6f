//go:build linux

package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Poll is how often Await asks where nothing else is wanted.
const Poll = 100 * time.Millisecond

// Await calls ready until it returns nil. It fails when a process ends that should be running, and with ready's last error
// when ctx ends.
func Await(ctx context.Context, every time.Duration, ready func(context.Context) error, processes ...*Process) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		for _, p := range processes {
			if ended := p.Ended(); ended != nil {
				return ended
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

const getTimeout = 2 * time.Second

// Get asks for a page and reads its JSON into reply, where reply is not nil. Another status than 200 is an error.
func Get(ctx context.Context, url string, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	if reply == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(reply); err != nil {
		return fmt.Errorf("read %s: %w", url, err)
	}
	return nil
}
