package sioclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// separator joins the packets of one polling body.
const separator = "\x1e"

// polling is a Link by HTTP long polling. Every request goes to any gateway, as behind a balancer that does not know sessions.
type polling struct {
	ctx    context.Context //nolint:containedctx // the link's life; requests end with it
	cancel context.CancelFunc
	client *http.Client
	pick   func() string // host:port of the next request
	sid    string

	packets [][]byte // owned by the goroutine that reads: read, not yet given out

	posting sync.Mutex // one POST at a time, in order

	mu    sync.Mutex
	conns map[*trackedConn]struct{} // guarded by mu
}

var _ Link = (*polling)(nil)

// DialPolling opens an Engine.IO session by HTTP at host:port. pick gives the host:port of every later request.
func DialPolling(ctx context.Context, first string, pick func() string) (Link, error) {
	p := &polling{pick: pick, conns: make(map[*trackedConn]struct{})}
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.client = &http.Client{Transport: &http.Transport{
		DialContext: p.dial,
		// On a connection that was used before, net/http would send a GET again by itself, and the packets of a lost answer
		// would be missing.
		DisableKeepAlives: true,
	}}
	body, err := p.do(http.MethodGet, first, nil, time.Now().Add(dialTimeout))
	if err != nil {
		p.Reset()
		return nil, fmt.Errorf("dial: %w", err)
	}
	p.append(body)
	var h Handshake
	if len(p.packets) == 0 || p.packets[0][0] != engineOpen || json.Unmarshal(p.packets[0][1:], &h) != nil || h.SID == "" {
		p.Reset()
		return nil, fmt.Errorf("dial: not an open packet: %.60q", body)
	}
	p.sid = h.SID
	return p, nil
}

func (p *polling) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	tracked := &trackedConn{Conn: conn, link: p}
	p.conns[tracked] = struct{}{}
	return tracked, nil
}

// trackedConn is known to its link until it is closed.
type trackedConn struct {
	net.Conn
	link *polling
}

func (t *trackedConn) Close() error {
	t.link.mu.Lock()
	delete(t.link.conns, t)
	t.link.mu.Unlock()
	return t.Conn.Close()
}

func (p *polling) do(method, address string, body []byte, deadline time.Time) ([]byte, error) {
	ctx, cancel := context.WithDeadline(p.ctx, deadline)
	defer cancel()
	target := "http://" + address + Path + "polling"
	if p.sid != "" {
		target += "&sid=" + p.sid
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
		req.GetBody = nil // with it, net/http might send the request again by itself
	}
	res, err := p.client.Do(req)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		return nil, fmt.Errorf("%s: %w", method, failed.Err) // without the URL, for the sid is in it
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(res.Body, maxFrame))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %.80s", method, res.Status, got)
	}
	return got, nil
}

func (p *polling) append(body []byte) {
	for packet := range bytes.SplitSeq(body, []byte(separator)) {
		if len(packet) > 0 {
			p.packets = append(p.packets, packet)
		}
	}
}

// Read implements Link.
func (p *polling) Read(deadline time.Time) ([]byte, error) {
	for len(p.packets) == 0 {
		body, err := p.do(http.MethodGet, p.pick(), nil, deadline)
		if err != nil {
			return nil, err
		}
		p.append(body)
	}
	next := p.packets[0]
	p.packets = p.packets[1:]
	if next[0] == engineClose {
		return nil, errors.New("closed by the server: Engine.IO close")
	}
	return next, nil
}

// Write implements Link.
func (p *polling) Write(packet []byte) error {
	p.posting.Lock()
	defer p.posting.Unlock()
	_, err := p.do(http.MethodPost, p.pick(), packet, time.Now().Add(writeTimeout))
	return err
}

// Reset implements Link.
func (p *polling) Reset() {
	p.mu.Lock()
	conns := make([]*trackedConn, 0, len(p.conns))
	for t := range p.conns {
		conns = append(conns, t)
	}
	p.mu.Unlock()
	for _, t := range conns {
		resetTCP(t.Conn)
	}
	p.cancel()
	p.client.CloseIdleConnections()
}

// Close implements Link.
func (p *polling) Close() {
	_ = p.Write([]byte{engineClose})
	p.Reset()
}
