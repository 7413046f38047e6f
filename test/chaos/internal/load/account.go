package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	password    = "a password of the rig"
	restTimeout = 5 * time.Second
	// enrolTimeout is restTimeout before the load begins: nothing is measured yet, and the machine starts the system.
	enrolTimeout = time.Minute
	// leftToConnect is how long an access token must be good for a connection to begin with it.
	leftToConnect = 8 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 64 << 10
)

// account is the login of a client that has its tokens from the system itself, which rotates the keys that sign them.
type account struct {
	user     *user
	username string

	mu      sync.Mutex // guards all below; held during a request, for a refresh token is good for one
	access  string
	ends    time.Time // of access
	refresh string
	// unsure: an answer to a refresh may have been lost. When that is found out too late, the login is over, and rightly so.
	unsure bool
}

// login is what register, login and refresh answer.
type login struct {
	AccessToken  string `json:"accessToken"`
	RefreshToken string `json:"refreshToken"`
	ExpiresIn    int    `json:"expiresIn"` // seconds
	User         struct {
		ID string `json:"id"`
	} `json:"user"`
}

// enrol registers the account, and gives the user's id. A system that says it is busy is asked again: on a busy machine the
// turn for a password hash may take longer than the system lets anybody wait.
func (a *account) enrol(ctx context.Context) (id string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	for {
		got, status, err := a.post(ctx, enrolTimeout, "register", map[string]string{"username": a.username, "password": password})
		if err == nil {
			a.store(got)
			return got.User.ID, nil
		}
		if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable || pause(ctx, time.Second) != nil {
			return "", err
		}
	}
}

// token gives an access token that is good for that long at least.
func (a *account) token(ctx context.Context, left time.Duration) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Until(a.ends) >= left {
		return a.access, nil
	}
	return a.renew(ctx)
}

// fresh gives a new access token.
func (a *account) fresh(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.renew(ctx)
}

// renew spends the refresh token, and logs in again when the login is over; a.mu is held.
func (a *account) renew(ctx context.Context) (string, error) {
	got, status, err := a.post(ctx, restTimeout, "refresh", map[string]string{"refreshToken": a.refresh})
	if status == http.StatusUnauthorized {
		if !a.unsure {
			a.user.load.counters.fail("token:refresh refused")
		}
		got, _, err = a.post(ctx, restTimeout, "login", map[string]string{"username": a.username, "password": password})
	}
	if err != nil {
		a.unsure = true
		a.user.load.counters.fail("auth:unanswered")
		return "", err
	}
	a.store(got)
	return a.access, nil
}

func (a *account) store(l login) {
	a.access, a.refresh, a.unsure = l.AccessToken, l.RefreshToken, false
	a.ends = time.Now().Add(time.Duration(l.ExpiresIn) * time.Second)
	a.user.load.sawKey(l.AccessToken)
}

// refused tells of a token that the system did not accept: none may be that it gave and that has not ended.
func (a *account) refused(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if token == a.access && !a.unsure && time.Now().Before(a.ends) {
		a.user.load.counters.fail("token:refused")
	}
	a.ends = time.Time{} // another one is taken next time
}

// post makes one REST call for tokens at any gateway; status is 0 where there was no answer, or one that cannot be read.
func (a *account) post(ctx context.Context, limit time.Duration, call string, body any) (got login, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	encoded, err := json.Marshal(body)
	if err != nil {
		return got, 0, err
	}
	address := "http://" + a.user.load.cfg.Gateways[a.user.gateway()] + "/api/v1/auth/" + call
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(encoded))
	if err != nil {
		return got, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true // the next one may go to another gateway
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return got, 0, fmt.Errorf("%s: %w", call, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated {
		return got, res.StatusCode, fmt.Errorf("%s: %s", call, res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&got); err != nil {
		return got, 0, fmt.Errorf("%s: %w", call, err)
	}
	if got.AccessToken == "" || got.RefreshToken == "" || got.User.ID == "" {
		return got, 0, errors.New(call + ": an answer without tokens")
	}
	return got, res.StatusCode, nil
}

// enrol registers the accounts, before any client runs.
func (l *Load) enrol(ctx context.Context) error {
	for i, c := range l.clients {
		a := c.tokens.account
		if a == nil {
			continue
		}
		id, err := a.enrol(ctx)
		if err != nil {
			return fmt.Errorf("register %s: %w", a.username, err)
		}
		delete(l.byID, c.user.id)
		c.user.id, l.byID[id] = id, i
	}
	return nil
}

// sawKey notes which key signed a token.
func (l *Load) sawKey(token string) {
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		l.counters.fail("unreadable:token")
		return
	}
	id, _ := parsed.Header["kid"].(string)
	l.counters.mu.Lock()
	defer l.counters.mu.Unlock()
	l.counters.keys[id] = true
}
