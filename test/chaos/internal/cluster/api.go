package cluster

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/internal/launch"
)

// revokeTimeout covers a gateway or auth-service that is just being disturbed; the call is repeated until then.
const (
	revokeTimeout = 5 * time.Second
	revokePause   = 200 * time.Millisecond
	callTimeout   = 2 * time.Second
)

// Revoke ends all tokens of a user.
func (c *Cluster) Revoke(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	return launch.Await(ctx, revokePause, func(ctx context.Context) error { return c.revoke(ctx, user) })
}

func (c *Cluster) revoke(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
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
	return launch.Await(ctx, revokePause, c.NATS[node].healthy) == nil
}
