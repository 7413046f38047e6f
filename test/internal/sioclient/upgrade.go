package sioclient

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gobwas/ws"
)

// upgraded is a WebSocket of a session that began with polling.
type upgraded struct {
	*webSocket
	open []byte // the open packet, until it is read
}

// DialUpgraded opens a session by polling at first, and takes it over to a WebSocket at second, both host:port. Where these are
// gateways that do not have the session, they carry it for the one that has.
func DialUpgraded(ctx context.Context, first, second string) (Link, error) {
	u, err := dialUpgraded(ctx, first, second)
	if err != nil {
		return nil, err // not a nil *upgraded
	}
	return u, nil
}

// DialUpgradedConn is DialUpgraded for who writes frames of their own; reader has what comes.
func DialUpgradedConn(ctx context.Context, first, second string) (conn net.Conn, reader io.Reader, err error) {
	u, err := dialUpgraded(ctx, first, second)
	if err != nil {
		return nil, nil, err
	}
	return u.conn, u.reader, u.conn.SetDeadline(time.Time{})
}

func dialUpgraded(ctx context.Context, first, second string) (*upgraded, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+first+Path+"polling", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("open by polling: %w", err)
	}
	open, err := io.ReadAll(io.LimitReader(res.Body, maxFrame))
	_ = res.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read the open packet: %w", err)
	}
	var h Handshake
	if len(open) == 0 || open[0] != engineOpen || json.Unmarshal(open[1:], &h) != nil || h.SID == "" {
		return nil, fmt.Errorf("open by polling: %s: %.60q", res.Status, open)
	}
	conn, reader, _, err := ws.Dial(ctx, "ws://"+second+Path+"websocket&sid="+h.SID)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if reader == nil {
		reader = bufio.NewReader(conn)
	}
	u := &upgraded{webSocket: &webSocket{conn: conn, reader: reader}, open: open}
	if err := u.probe(time.Now().Add(dialTimeout)); err != nil {
		u.Reset()
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	return u, nil
}

func (u *upgraded) probe(deadline time.Time) error {
	if err := u.webSocket.Write([]byte("2probe")); err != nil {
		return err
	}
	answer, err := u.webSocket.Read(deadline)
	if err != nil {
		return err
	}
	if string(answer) != "3probe" {
		return fmt.Errorf("the probe is answered with %.60q", answer)
	}
	return u.webSocket.Write([]byte("5"))
}

// Read implements Link.
func (u *upgraded) Read(deadline time.Time) ([]byte, error) {
	if open := u.open; open != nil {
		u.open = nil
		return open, nil
	}
	return u.webSocket.Read(deadline)
}
