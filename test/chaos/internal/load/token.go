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
)

// token makes a token that is good from now on.
func (c *client) token() string {
	life := tokenLife
	if c.role.refresher {
		life = shortLife
	}
	claims := jwt.MapClaims{"sub": c.id, "name": c.id, "iat": c.issued.Unix(), "exp": time.Now().Add(life).Unix()}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(c.load.cfg.Secret))
	if err != nil {
		return "" // cannot be: the claims are encodable; and a client without a token is refused visibly
	}
	return signed
}

// refresh keeps the token of a connection fresh.
func (c *client) refresh(ctx context.Context) {
	for pause(ctx, refreshAfter) == nil {
		for {
			if c.awaitUp(ctx) != nil {
				return
			}
			k, err := c.invoke("auth:refresh", map[string]string{"token": c.token()}, nil)
			if err != nil {
				continue
			}
			wait := c.after("auth:refresh", c.await(ctx, k))
			if wait == 0 {
				c.load.counters.refreshed.Add(1)
				break
			}
			if pause(ctx, wait) != nil {
				return
			}
		}
	}
}
