package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// revokeTimeout covers a gateway or auth-service that is just being disturbed; the call is repeated until then.
const (
	revokeTimeout = 5 * time.Second
	revokePause   = 200 * time.Millisecond
)

// Revoke ends all tokens of a user.
func (c *Cluster) Revoke(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	var last error
	err := poll(ctx, revokePause, func() bool {
		last = c.revoke(ctx, user)
		return last == nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

func (c *Cluster) revoke(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	address := c.GatewayURL(ctx) + "/api/v1/users/" + url.PathEscape(user) + "/revoke"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader("{}"))
	if err != nil {
		return fmt.Errorf("revoke %s: %w", user, err)
	}
	req.Header.Set("X-API-Key", APIKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("revoke %s: %w", user, err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("revoke %s: %s", user, res.Status)
	}
	return nil
}

// healTime is how long a NATS server may take to find its JetStream well again.
const healTime = 2 * time.Second

// Healthy reports whether a NATS server's JetStream works, all its copies of streams are up to date, or become so soon.
func (c *Cluster) Healthy(ctx context.Context, node int) bool {
	ctx, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	return poll(ctx, revokePause, func() bool { return c.NATS[node].healthy(ctx) == nil }) == nil
}
