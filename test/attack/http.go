//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/internal/sioclient"
)

const (
	handshakers    = 8
	handshakeEvery = 200 * time.Millisecond // of each: 40 a second together
)

// refusedHandshakes asks for WebSockets in ways that are refused, through the pool that others use. A connection that is left open
// and unread after a refusal goes back to the pool, and whoever gets it next waits in vain.
func refusedHandshakes(ctx context.Context, t *target) (string, error) {
	odd := []http.Header{
		{"Sec-Websocket-Version": {"8"}},
		{"Sec-Websocket-Version": {"0"}},
		{"Sec-Websocket-Version": {""}},
		{"Sec-Websocket-Version": {"13", "13"}},
		{"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"short"}},
		{"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {}},
		{"Sec-Websocket-Version": {"13"}, "Origin": {"https://elsewhere.example"}},
	}
	answers := &tally{}
	var mu sync.Mutex
	var took []time.Duration // guarded by mu
	crowd(ctx, handshakers, func(ctx context.Context, i int) string {
		for turn := i; pause(ctx, handshakeEvery) == nil; turn++ {
			began := time.Now()
			outcome, err := t.handshake(ctx, odd[turn%len(odd)])
			mu.Lock()
			took = append(took, time.Since(began)) // also of one that the end of the attack cuts off
			mu.Unlock()
			switch {
			case ctx.Err() != nil:
			case err != nil:
				answers.add("closed")
			default:
				answers.add(outcome)
			}
		}
		return ""
	})
	slices.Sort(took)
	slow := percentile(took, 90)
	var err error
	if slow > t.within {
		err = errors.New("handshakes wait in vain on connections that were refused before")
	}
	return fmt.Sprintf("%d odd handshakes through the others' pool, nine of ten answered within %d ms: %s", len(took), slow.Milliseconds(), answers), err
}

func (t *target) handshake(ctx context.Context, odd http.Header) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.within+time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.gateways[0]+sioclient.Path+"websocket", nil)
	if err != nil {
		return "", err
	}
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	maps.Copy(req.Header, odd)
	res, err := t.pool.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusSwitchingProtocols {
		_, _ = io.Copy(io.Discard, res.Body)
	}
	return strconv.Itoa(res.StatusCode), nil
}

const (
	largeBody = 200_000 // bytes, as announced
	byteEvery = 3 * time.Second
	// slowAddress is where all of them come from: one address, as through a proxy. The rig's own is loopback, which has no limits.
	slowAddress = "203.0.113.200"
	slowBody    = descriptors + 200 // connections
	slowLogin   = 1100              // as many as there are slots for REST, and more
	stalledAt   = 150_000
	probeEvery  = 50 * time.Millisecond
)

// slowBodies sends bodies a byte at a time: for sessions that do not exist, for one that does, with requests that have no use for a
// body. A part of each crowd sends most of it first.
func slowBodies(ctx context.Context, t *target) (string, error) {
	sid, _, err := t.openPolling(ctx, "")
	if err != nil {
		return "", fmt.Errorf("open a session: %w", err)
	}
	heads := []string{
		"POST " + sioclient.Path + "polling&sid=nobody",
		"POST " + sioclient.Path + "polling&sid=" + sid,
		"GET " + sioclient.Path + "polling",
		"GET /api/v1/rooms",
		"POST /api/v1/emit",
		"GET /",
	}
	outcomes := crowd(ctx, slowBody, func(ctx context.Context, i int) string {
		ahead := 1
		if i%8 == 0 {
			ahead = stalledAt
		}
		return t.trickle(ctx, heads[i%len(heads)], ahead)
	})
	return fmt.Sprintf("%d bodies of %d bytes, a byte every %v: %s", slowBody, largeBody, byteEvery, outcomes), nil
}

// slowLogins sends logins so.
func slowLogins(ctx context.Context, t *target) (string, error) {
	outcomes := crowd(ctx, slowLogin, func(ctx context.Context, _ int) string {
		return t.trickle(ctx, "POST /api/v1/auth/login", 1)
	})
	return fmt.Sprintf("%d logins, a byte every %v: %s", slowLogin, byteEvery, outcomes), nil
}

// trickle sends one request so, until it is answered or closed.
func (t *target) trickle(ctx context.Context, head string, ahead int) string {
	conn, err := dialTCP(ctx, t.gateways[0])
	if err != nil {
		return "not let in"
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	request := fmt.Sprintf("%s HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", head, slowAddress, largeBody)
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		return "closed"
	}
	body := make([]byte, ahead)
	for i := range body {
		body[i] = ' '
	}
	for {
		_ = conn.SetWriteDeadline(time.Now().Add(patience))
		if _, err := conn.Write(body); err != nil {
			return answered(conn)
		}
		body = body[:1]
		if ctx.Err() != nil {
			return ""
		}
		_ = conn.SetReadDeadline(time.Now().Add(byteEvery))
		first := make([]byte, 12) // HTTP/1.1 400
		if n, err := io.ReadFull(conn, first); !isTimeout(err) || n > 0 {
			return status(first[:n])
		}
	}
}

// answered reads what there is when nothing can be written any more.
func answered(conn net.Conn) string {
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	first := make([]byte, 12)
	n, _ := io.ReadFull(conn, first)
	return status(first[:n])
}

func status(line []byte) string {
	if len(line) == 12 {
		return string(line[9:])
	}
	return "closed"
}

// openPolling opens a session from an address; "" is the rig's own. most is how many bytes the gateway takes at once.
func (t *target) openPolling(ctx context.Context, address string) (sid string, most int, err error) {
	conn, err := dialTCP(ctx, t.gateways[0])
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	forwarded := ""
	if address != "" {
		forwarded = "X-Forwarded-For: " + address + "\r\n"
	}
	if _, err := io.WriteString(conn, "GET "+sioclient.Path+"polling HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"+forwarded+"\r\n"); err != nil {
		return "", 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return "", 0, err
	}
	if res.StatusCode != http.StatusOK {
		return "", 0, fmt.Errorf("%d", res.StatusCode) //nolint:err113 // the status is the outcome
	}
	var h struct {
		SID        string `json:"sid"`
		MaxPayload int    `json:"maxPayload"`
	}
	if len(raw) == 0 || raw[0] != '0' || json.Unmarshal(raw[1:], &h) != nil || h.SID == "" {
		return "", 0, fmt.Errorf("not an open packet: %.60q", raw)
	}
	return h.SID, h.MaxPayload, nil
}
