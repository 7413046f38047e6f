//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/internal/sioclient"
)

const (
	sendEvery  = 200 * time.Millisecond
	enterEvery = 300 * time.Millisecond
	loginEvery = time.Second
	ownAddress = "198.51.100.7" // from which the others log in
)

// others are clients who have done nothing, and measure how they fare.
type others struct {
	target  *target
	measure *measure
	running sync.WaitGroup
}

// start starts two chatters at each gateway, two whose session is at another gateway than their WebSocket, two backends behind
// the pool, newcomers, and somebody who logs in again and again.
func (o *others) start(ctx context.Context) error {
	t := o.target
	n := len(t.gateways)
	for i := range 3 * n {
		name, at := "other-"+strconv.Itoa(i), t.gateways[i%n]
		dial := func(ctx context.Context) (sioclient.Link, error) { return sioclient.DialWebSocket(ctx, at, 0) }
		if i >= 2*n {
			session := t.gateways[(i+1)%n]
			dial = func(ctx context.Context) (sioclient.Link, error) { return sioclient.DialUpgraded(ctx, session, at) }
		}
		c, err := o.enter(ctx, name, dial)
		if err != nil {
			return fmt.Errorf("%s comes in: %w", name, err)
		}
		o.running.Go(func() { o.chat(ctx, name, c, dial) })
	}
	for i := range 2 {
		o.running.Go(func() {
			o.repeat(ctx, sends, sendEvery, func(ctx context.Context) error { return t.post(ctx, roomOf("other-"+strconv.Itoa(i))) })
		})
	}
	turn := 0
	o.running.Go(func() {
		o.repeat(ctx, enters, enterEvery, func(ctx context.Context) error {
			turn++
			return t.comeAndGo(ctx, t.gateways[turn%n])
		})
	})
	o.running.Go(func() {
		o.repeat(ctx, logins, loginEvery, func(ctx context.Context) error { return t.login(ctx, victim, password, ownAddress) })
	})
	return nil
}

func roomOf(name string) string { return "room of " + name }

func (o *others) enter(ctx context.Context, name string, dial func(context.Context) (sioclient.Link, error)) (*chatter, error) {
	link, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	c, err := enter(ctx, link, sioclient.Auth{Token: o.target.token(name)})
	if err != nil {
		return nil, err
	}
	return c, c.call(ctx, "room:join", roomOf(name))
}

// chat sends again and again, and comes back when its connection ends.
func (o *others) chat(ctx context.Context, name string, c *chatter, dial func(context.Context) (sioclient.Link, error)) {
	for {
		o.repeat(ctx, sends, sendEvery, func(ctx context.Context) error {
			select {
			case <-c.ended:
				return errEnded
			default:
				return c.call(ctx, "message:send", message(roomOf(name)))
			}
		})
		if ctx.Err() != nil {
			c.close()
			return
		}
		o.measure.lost(c.err)
		for {
			next, err := o.enter(ctx, name, dial)
			if err == nil {
				c = next
				break
			}
			if pause(ctx, enterEvery) != nil {
				return
			}
		}
	}
}

var errEnded = errors.New("the connection has ended")

// repeat measures an act at a steady pace until ctx ends, or the act returns errEnded.
func (o *others) repeat(ctx context.Context, kind int, every time.Duration, act func(context.Context) error) {
	for pause(ctx, every) == nil {
		done := o.measure.begin(kind)
		err := act(ctx)
		if errors.Is(err, errEnded) || ctx.Err() != nil {
			done(errNothing)
			return
		}
		done(err)
	}
}

// comeAndGo is a newcomer's first message.
func (t *target) comeAndGo(ctx context.Context, at string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	link, err := sioclient.DialWebSocket(ctx, at, 0)
	if err != nil {
		return err
	}
	c, err := enter(ctx, link, sioclient.Auth{Token: t.token("newcomer")})
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.call(ctx, "room:join", roomOf("newcomer")); err != nil {
		return err
	}
	return c.call(ctx, "message:send", message(roomOf("newcomer")))
}

// post sends a message by REST, over whatever connection the pool gives.
func (t *target) post(ctx context.Context, room string) error {
	path := "/api/v1/rooms/" + escape(room) + "/messages"
	return t.ask(ctx, http.MethodPost, path, map[string]string{"content": "a message of a backend"}, http.Header{"X-Api-Key": {t.apiKey}})
}

func (t *target) login(ctx context.Context, username, password, address string) error {
	return t.ask(ctx, http.MethodPost, "/api/v1/auth/login", map[string]string{"username": username, "password": password}, http.Header{"X-Forwarded-For": {address}})
}

// ask makes a REST call through the pool; another status than 200 is an error.
func (t *target) ask(ctx context.Context, method, path string, body any, headers http.Header) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+t.gateways[0]+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	maps.Copy(req.Header, headers)
	req.Header["Idempotency-Key"] = nil // net/http tries again when a kept connection was closed meanwhile, as balancers do
	res, err := t.pool.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s %.200s", method, path, res.Status, answer)
	}
	return nil
}
