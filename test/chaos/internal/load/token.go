package load

import (
	"context"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	tokenLife = 6 * time.Hour // longer than any run
	// A refresher's tokens are short, so that it has to take another one in band every now and then. If that fails for too long,
	// the gateway closes the connection, and the client comes back with a fresh one.
	shortLife    = 30 * time.Second
	refreshAfter = 10 * time.Second
	// refreshAccountAfter is later, so that a connection begins with a token whose key has been superseded meanwhile.
	refreshAccountAfter = 18 * time.Second
)

// token gives a token for a connection.
func (c *client) token(ctx context.Context) (string, error) {
	if c.account != nil {
		return c.account.token(ctx, leftToConnect)
	}
	return c.sign()
}

// fresh gives a token that replaces the one of the connection.
func (c *client) fresh(ctx context.Context) (string, error) {
	if c.account != nil {
		return c.account.fresh(ctx)
	}
	return c.sign()
}

// sign makes a token that is good from now on.
func (c *client) sign() (string, error) {
	life := tokenLife
	if c.role.refresher {
		life = shortLife
	}
	claims := jwt.MapClaims{"sub": c.id, "name": c.id, "iat": c.issued.Unix(), "exp": time.Now().Add(life).Unix()}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(c.load.cfg.Secret))
}

// refresh keeps the token of a connection fresh.
func (c *client) refresh(ctx context.Context) {
	every := refreshAfter
	if c.account != nil {
		every = refreshAccountAfter
	}
	for pause(ctx, every) == nil {
		for done := false; !done; {
			if c.awaitUp(ctx) != nil {
				return
			}
			var wait time.Duration
			if done, wait = c.refreshOnce(ctx); wait > 0 && pause(ctx, wait) != nil {
				return
			}
		}
	}
}

// refreshOnce gives the connection a fresh token, or says how long to wait before that is tried again.
func (c *client) refreshOnce(ctx context.Context) (done bool, wait time.Duration) {
	token, err := c.fresh(ctx)
	if err != nil {
		return false, c.jitter(minBackoff, maxBackoff)
	}
	k, err := c.invoke("auth:refresh", map[string]string{"token": token}, nil)
	if err != nil {
		return false, 0 // the connection is gone: the next one is waited for
	}
	res := c.await(ctx, k)
	if c.account != nil && res.answer.Error.Code == "unauthenticated" {
		c.account.refused(token)
	}
	if wait = c.after("auth:refresh", res); wait > 0 {
		return false, wait
	}
	c.load.counters.refreshed.Add(1)
	return true, 0
}
