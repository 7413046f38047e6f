//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/starling-chat/starling/test/internal/launch"
)

const (
	// descriptors of the system: few, so that an attack that wants all of them is not too large for one machine.
	descriptors = 2048
	poolSize    = 16 // connections of the client that pools them

	victim   = "victim" // whom the logins attack
	password = "a victim's password"

	startTime = 3 * time.Minute
	stopTime  = 20 * time.Second
)

// target is the system under attack, and what clients of it need.
type target struct {
	process  *launch.Local
	gateways []string // host:port
	secret   string   // of the operator's own login system, which signs tokens
	apiKey   string
	pool     *http.Client // keeps its connections, as a balancer does; others and attacks share them
	own      *http.Client // the attackers', with as many connections as they want
	short    bool
	enough   string        // with what outcome a flood has shown all that it can: in the short form it ends then
	each     time.Duration // that attacks last
	within   time.Duration // in which others are to be served, as the baseline has it
}

// startTarget builds and starts a fresh system with two gateways. Some settings are small, so that what fills in an hour fills here
// at once.
func startTarget(ctx context.Context, o options, dir string) (*target, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	binary := o.binary
	if binary == "" {
		root, err := launch.Root()
		if err != nil {
			return nil, err
		}
		fmt.Println("building deploy/local")
		if binary, err = launch.BuildLocal(ctx, root, dir); err != nil {
			return nil, err
		}
	}
	first, err := launch.NewPorts().TakeRow(2)
	if err != nil {
		return nil, err
	}
	binary, err = withDescriptors(binary, dir)
	if err != nil {
		return nil, err
	}
	output := io.Discard
	args := []string{}
	if o.verbose {
		output, args = os.Stderr, append(args, "--verbose")
	}
	t := &target{secret: rand.Text() + rand.Text(), each: o.each, apiKey: rand.Text(), short: o.short, pool: &http.Client{
		Transport: &http.Transport{MaxConnsPerHost: poolSize, MaxIdleConnsPerHost: poolSize}, Timeout: patience,
	}, own: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: floodLogins}, Timeout: patience}}
	t.process = launch.NewLocal(launch.LocalSpec{
		Binary: binary, Data: filepath.Join(dir, "data"), FirstPort: first, Gateways: 2, Args: args, Output: output,
		Env: []string{
			"JWT_SECRET=" + t.secret, "AUTH_AUTO_PROVISION=true", "REGISTRATION=true", "API_KEY=" + t.apiKey, "TRUSTED_PROXIES=127.0.0.0/8",
			"HANDSHAKE_RATE=20", "HANDSHAKE_BURST=" + strconv.Itoa(handshakeBurst), "RECOVERY_BYTES=" + strconv.Itoa(1<<20),
			"FRAME_TIMEOUT=" + frameTimeout.String(), "LOG_FILE_LEVEL=error", "STALL_LIMIT=1h", // what is old is not the question
		},
	})
	if err := t.process.Start(); err != nil {
		return nil, err
	}
	for _, a := range t.process.Addresses {
		t.gateways = append(t.gateways, a.String())
	}
	err = launch.Await(ctx, launch.Poll, t.process.Ready, t.process.Process)
	for _, at := range t.gateways {
		if err == nil { // chat-service may still be starting
			err = launch.Await(ctx, launch.Poll, func(ctx context.Context) error { return t.comeAndGo(ctx, at) }, t.process.Process)
		}
	}
	if err == nil {
		err = t.ask(ctx, http.MethodPost, "/api/v1/auth/register", map[string]string{"username": victim, "password": password}, nil)
	}
	if err != nil {
		t.stop(ctx)
		return nil, fmt.Errorf("start Starling: %w", err)
	}
	return t, nil
}

// withDescriptors makes a program that runs binary with few descriptors.
func withDescriptors(binary, dir string) (string, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return "", err
	}
	script := filepath.Join(dir, "starling-with-few-descriptors")
	text := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec '%s' \"$@\"\n", descriptors, binary)
	return script, os.WriteFile(script, []byte(text), 0o700) //nolint:gosec // it is run
}

func (t *target) stop(ctx context.Context) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	t.pool.CloseIdleConnections()
	t.own.CloseIdleConnections()
	if err := t.process.Terminate(bounded); err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
	}
	t.process.Clean(bounded)
}

// token is what the operator's login system gives a user.
func (t *target) token(user string) string {
	claims := jwt.MapClaims{"sub": user, "name": user, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	token, _ := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(t.secret)) // a key that is bytes always signs
	return token
}

func escape(id string) string { return url.PathEscape(id) }

// dialTCP opens a plain connection.
func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	return d.DialContext(ctx, "tcp", address)
}

// isTimeout tells a deadline from an end.
func isTimeout(err error) bool {
	var failed net.Error
	return errors.As(err, &failed) && failed.Timeout()
}
