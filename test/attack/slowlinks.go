//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/starling-chat/starling/test/internal/sioclient"
)

// slowLinksName is what the honest slow links are called among the attacks: what is done against slow bodies must not hit them.
const slowLinksName = "slowlinks"

const (
	slowPiece      = 250 * time.Millisecond
	slowPollBytes  = 750_000 // or what the gateway says that it takes at once
	slowPollTime   = 14 * time.Second
	slowFrameBytes = 60_000
	slowFrameRate  = 4_600 // bytes a second: 13 s
)

// startSlowLinks sends a large POST and a large frame over slow links, while the attacks go on. It returns nil when they are not wanted.
func (r *rig) startSlowLinks(ctx context.Context) (result chan error) {
	if !r.wants(slowLinksName) {
		return nil
	}
	result = make(chan error, 2)
	go func() { result <- r.target.slowPost(ctx) }()
	go func() { result <- r.target.slowEvent(ctx) }()
	return result
}

// slowLinks prints how they fared; it returns 1 when one was cut off. Where the machine stood still since they began, they begin again.
func (r *rig) slowLinks(ctx context.Context, result chan error, began time.Time) int {
	for try := 1; ; try++ {
		hurt := r.slowLinksOnce(result)
		if hurt == 0 || try == mostTries || r.stalled(began) < longStall || ctx.Err() != nil {
			return hurt
		}
		began, result = time.Now(), r.startSlowLinks(ctx)
	}
}

func (r *rig) slowLinksOnce(result chan error) int {
	if result == nil {
		return 0
	}
	verdict, hurt := "served", 0
	var why []string
	for range cap(result) {
		if err := <-result; err != nil {
			verdict, hurt = "HURT", 1
			why = append(why, err.Error())
		}
	}
	fmt.Printf("%-8s %-12s a large POST over %v, a frame of %d bytes at %d bytes a second %s\n", verdict, slowLinksName,
		slowPollTime, slowFrameBytes, slowFrameRate, strings.Join(why, "; "))
	return hurt
}

// drip writes at a rate.
func drip(ctx context.Context, w io.Writer, data []byte, rate int) error {
	piece := int(float64(rate) * slowPiece.Seconds())
	for len(data) > 0 {
		n := min(piece, len(data))
		if _, err := w.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
		if err := pause(ctx, slowPiece); err != nil {
			return err
		}
	}
	return nil
}

// slowPost is a polling client that sends all that it wrote while it was offline.
func (t *target) slowPost(ctx context.Context) error {
	sid, most, err := t.openPolling(ctx, "")
	if err != nil {
		return fmt.Errorf("slow POST: open a session: %w", err)
	}
	target := sioclient.Path + "polling&sid=" + sid
	if err := t.post40(ctx, target); err != nil {
		return fmt.Errorf("slow POST: %w", err)
	}
	event := `42["room:message",{"roomId":"slow","x":"` + strings.Repeat("x", 30_000) + `"}]`
	body := event
	for len(body)+1+len(event) <= min(slowPollBytes, most) {
		body += "\x1e" + event
	}
	conn, err := dialTCP(ctx, t.gateways[1])
	if err != nil {
		return fmt.Errorf("slow POST: %w", err)
	}
	defer func() { _ = conn.Close() }()
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", target, len(body))
	if _, err := io.WriteString(conn, head); err != nil {
		return fmt.Errorf("slow POST: %w", err)
	}
	if err := drip(ctx, conn, []byte(body), len(body)/int(slowPollTime.Seconds())); err != nil {
		return fmt.Errorf("slow POST was cut off: %w", err)
	}
	return expectOK(conn, "slow POST")
}

// post40 connects to the namespace, by POST.
func (t *target) post40(ctx context.Context, target string) error {
	connect := string(sioclient.AppendConnect(nil, sioclient.Auth{Token: t.token("slow")}))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+t.gateways[1]+target, strings.NewReader(connect))
	if err != nil {
		return err
	}
	res, err := t.own.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT is answered with %s", res.Status)
	}
	return nil
}

func expectOK(conn net.Conn, what string) error {
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return fmt.Errorf("%s has no answer: %w", what, err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is answered with %s", what, res.Status)
	}
	return nil
}

// slowEvent is a client that sends one large event over a slow WebSocket.
func (t *target) slowEvent(ctx context.Context) error {
	s, err := dialSocket(ctx, t.gateways[1], t.token("slow"))
	if err != nil {
		return fmt.Errorf("slow frame: %w", err)
	}
	defer s.end()
	packet := `420["room:message",{"roomId":"slow","x":"` + strings.Repeat("x", slowFrameBytes-100) + `"}]`
	frame := sioclient.AppendFrame(nil, ws.OpText, []byte(packet), s.mask)
	_ = s.SetWriteDeadline(time.Time{})
	if err := drip(ctx, s, frame, slowFrameRate); err != nil {
		return fmt.Errorf("slow frame was cut off: %w", err)
	}
	select {
	case <-s.acked:
		return nil
	case <-s.closed:
		return fmt.Errorf("slow frame: the socket was closed with %d", s.code.Load())
	case <-time.After(patience):
		return fmt.Errorf("slow frame: no ack")
	}
}
