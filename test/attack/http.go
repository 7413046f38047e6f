//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/starling-chat/starling/test/internal/sioclient"
)

const (
	handshakers    = 8
	handshakeEvery = 200 * time.Millisecond // of each: 40 a second together
)

// oddHandshakes are those of WebSockets that are refused.
func oddHandshakes() []http.Header {
	return []http.Header{
		{"Sec-Websocket-Version": {"8"}},
		{"Sec-Websocket-Version": {"0"}},
		{"Sec-Websocket-Version": {""}},
		{"Sec-Websocket-Version": {"13", "13"}},
		{"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"short"}},
		{"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {}},
		{"Sec-Websocket-Version": {"13"}, "Origin": {"https://elsewhere.example"}},
	}
}

// refusedHandshakes asks for WebSockets in ways that are refused: through the pool that others use, and on connections of its own, where
// it asks for something else next. A connection that is left open and unread after a refusal goes back to the pool, and whoever gets
// it next waits in vain. That may last only until the memory of the process is cleaned up, so the own connections tell by what is
// answered, not by how long others wait.
func refusedHandshakes(ctx context.Context, t *target) (string, error) {
	odd := oddHandshakes()
	answers, next := &tally{}, &tally{}
	crowd(ctx, handshakers, func(ctx context.Context, i int) string {
		for turn := i / 2; pause(ctx, handshakeEvery) == nil; turn++ {
			head := odd[turn%len(odd)]
			if i%2 == 0 {
				if outcome := t.askNext(ctx, head); outcome != "" {
					next.add(outcome)
				}
				continue
			}
			outcome, err := t.handshake(ctx, head)
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
	var err error
	if n := next.of(inVain); n > 0 {
		err = fmt.Errorf("%d requests that came after a refusal, on a connection that was to stay open, were not answered", n)
	}
	return fmt.Sprintf("odd handshakes through the others' pool: %s; requests after one: %s", answers, next), err
}

const inVain = "in vain"

// askNext has a handshake refused and asks for something else on the same connection. The answer may say that the connection ends.
func (t *target) askNext(ctx context.Context, odd http.Header) (outcome string) {
	conn, err := dialTCP(ctx, t.gateways[0])
	if err != nil {
		return "not let in"
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { // the last ones of an attack get the time that others get
		_ = conn.SetDeadline(time.Now().Add(t.within))
	})()
	_ = conn.SetDeadline(time.Now().Add(patience))
	reader := bufio.NewReader(conn)
	ask := func(target string, header http.Header) (status int, closes bool, err error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.gateways[0]+target, nil)
		if err != nil {
			return 0, false, err
		}
		req.Header = header
		if err := req.Write(conn); err != nil {
			return 0, false, err
		}
		res, err := http.ReadResponse(reader, req)
		if err != nil {
			return 0, false, err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusSwitchingProtocols {
			_, err = io.Copy(io.Discard, res.Body)
		}
		return res.StatusCode, res.Close, err
	}
	header := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	maps.Copy(header, odd)
	status, closes, err := ask(sioclient.Path+"websocket", header)
	switch {
	case err != nil:
		return "closed"
	case status == http.StatusSwitchingProtocols:
		return strconv.Itoa(status)
	case closes:
		return strconv.Itoa(status) + " and closed"
	}
	if status, _, err = ask("/healthz", http.Header{}); err != nil {
		return inVain
	}
	return strconv.Itoa(status)
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
