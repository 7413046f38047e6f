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

// tokens gives a client its tokens. It signs them itself, as another login system would, or has an account of the system.
type tokens struct {
	*user
	issued  time.Time // of what it signs: a revocation covers also the tokens that it signs later
	account *account  // nil: it signs
}

func newTokens(u *user) *tokens {
	t := &tokens{user: u, issued: time.Now()}
	if u.role.account {
		t.account = &account{user: u, username: u.id}
	}
	return t
}

// forConnection gives a token for a connection.
func (t *tokens) forConnection(ctx context.Context) (string, error) {
	if t.account != nil {
		return t.account.token(ctx, leftToConnect)
	}
	return t.sign()
}

// fresh gives a token that replaces the one of the connection.
func (t *tokens) fresh(ctx context.Context) (string, error) {
	if t.account != nil {
		return t.account.fresh(ctx)
	}
	return t.sign()
}

// refused tells of a token that the system did not accept.
func (t *tokens) refused(token string) {
	if t.account != nil {
		t.account.refused(token)
	}
}

// sign makes a token that is good from now on.
func (t *tokens) sign() (string, error) {
	life := tokenLife
	if t.role.refresher {
		life = shortLife
	}
	claims := jwt.MapClaims{"sub": t.id, "name": t.id, "iat": t.issued.Unix(), "exp": time.Now().Add(life).Unix()}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(t.load.cfg.Secret))
}

// refresh keeps the token of a connection fresh.
func (t *tokens) refresh(ctx context.Context, c *connection) {
	every := refreshAfter
	if t.account != nil {
		every = refreshAccountAfter
	}
	for pause(ctx, every) == nil {
		for done := false; !done; {
			if c.awaitUp(ctx) != nil {
				return
			}
			var wait time.Duration
			if done, wait = t.refreshOnce(ctx, c); wait > 0 && pause(ctx, wait) != nil {
				return
			}
		}
	}
}

// refreshOnce gives the connection a fresh token, or says how long to wait before that is tried again.
func (t *tokens) refreshOnce(ctx context.Context, c *connection) (done bool, wait time.Duration) {
	token, err := t.fresh(ctx)
	if err != nil {
		return false, t.jitter(minBackoff, maxBackoff)
	}
	k, err := c.invoke("auth:refresh", map[string]string{"token": token}, nil)
	if err != nil {
		return false, 0 // the connection is gone: the next one is waited for
	}
	r := c.await(ctx, k)
	if r.answer.Error.Code == "unauthenticated" {
		t.refused(token)
	}
	if wait = t.failed("auth:refresh", r); wait > 0 {
		return false, wait
	}
	t.load.counters.refreshed.Add(1)
	return true, 0
}
