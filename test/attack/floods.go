//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/starling-chat/starling/test/internal/sioclient"
)

const (
	eventRate = 100_000 // a second: a good part of a core
	pongRate  = 100_000 // pairs
)

// flood sends the same frames again and again, over one socket.
func flood(ctx context.Context, t *target, token string, rate int, frames []byte) (string, error) {
	var sent atomic.Int64
	outcomes := crowdUntil(ctx, t.enough, t.each, 1, func(ctx context.Context, _ int) string {
		s, err := dialSocket(ctx, t.gateways[0], token)
		if err != nil {
			return "not let in"
		}
		return pour(ctx, s, rate, frames, &sent)
	})
	did := fmt.Sprintf("%d over one socket: %s", sent.Load(), outcomes)
	return did, mustClose(did)
}

// pour sends frames at a rate until the socket is closed.
func pour(ctx context.Context, s *socket, rate int, frames []byte, sent *atomic.Int64) string {
	batch := make([]byte, 0, rate/10*len(frames)+len(frames))
	err := steady(ctx, rate, func(n int) error {
		batch = batch[:0]
		for range n {
			batch = append(batch, frames...)
		}
		if err := s.send(batch); err != nil {
			return err
		}
		sent.Add(int64(n))
		return nil
	})
	if err != nil && isTimeout(err) {
		s.end()
		return "held back"
	}
	if err != nil { // the close frame may be on its way
		select {
		case <-s.closed:
		case <-time.After(time.Second):
		}
	}
	return s.outcome(ctx)
}

// refusedEvents sends far more events than a socket may. Each is refused, and costs; after a long run of refusals the socket is closed.
func refusedEvents(ctx context.Context, t *target) (string, error) {
	frames := sioclient.AppendFrame(nil, ws.OpText, []byte(`42["message:send",{"roomId":"r","content":"c"}]`), [4]byte{})
	return flood(ctx, t, t.token("flooder"), eventRate, frames)
}

// pongFlood sends heartbeats that nobody asked for: of Engine.IO, and of WebSocket.
func pongFlood(ctx context.Context, t *target) (string, error) {
	frames := sioclient.AppendFrame(nil, ws.OpText, []byte(sioclient.Pong), [4]byte{})
	frames = sioclient.AppendFrame(frames, ws.OpPong, nil, [4]byte{})
	return flood(ctx, t, t.token("ponger"), pongRate, frames)
}

// closedForGood is how floods end.
const closedForGood = "closed with 1008"

// mustClose finds out that a flood was not ended.
func mustClose(did string) error {
	if !strings.Contains(did, closedForGood) {
		return errors.New("the flood was not ended with 1008")
	}
	return nil
}

const handshakeBurst = 100

// addressLimits opens sessions from one address, however proxies may write it, and from private ones.
func addressLimits(ctx context.Context, t *target) (string, error) {
	addresses := []string{"203.0.113.77", "203.0.113.78:4444", "[2001:db8::1]:443", "10.1.2.3", "192.168.7.7", "fd00::7", "unknown"}
	result := make([]string, 0, len(addresses))
	var err error
	for _, address := range addresses {
		opened, refused := 0, 0
		for range handshakeBurst + 150 {
			if ctx.Err() != nil {
				break
			}
			if _, _, failed := t.openPolling(ctx, address); failed == nil {
				opened++
			} else if failed.Error() == "503" {
				if refused++; refused == 20 { // it is limited
					break
				}
			}
		}
		if refused == 0 && err == nil {
			err = fmt.Errorf("%s is not limited", address)
		}
		result = append(result, fmt.Sprintf("%s %d of %d", address, opened, opened+refused))
	}
	return "opened: " + strings.Join(result, ", "), err
}

const (
	tunnelFloods = 8 // half of them from either gateway
	tunnelRate   = 60_000
)

// tunnelFlood sends events as fast as it can through WebSockets whose sessions are at the other gateway. Others have such connections,
// too, and send at their own pace; what is between gateways takes all of them. The events are small, refused and answered, so that
// those who take them in at the other gateway fall behind those who pass them on.
func tunnelFlood(ctx context.Context, t *target) (string, error) {
	var sent atomic.Int64
	frames := sioclient.AppendFrame(nil, ws.OpText, []byte(`421["message:send",{"roomId":"r","content":"c"}]`), [4]byte{})
	outcomes := crowd(ctx, tunnelFloods, func(ctx context.Context, i int) string {
		s, err := dialThrough(ctx, t.gateways[i%2], t.gateways[1-i%2], t.token("tunneller-"+strconv.Itoa(i)))
		if err != nil {
			return "not let in"
		}
		return pour(ctx, s, tunnelRate, frames, &sent)
	})
	return fmt.Sprintf("%d events over %d tunnels: %s", sent.Load(), tunnelFloods, outcomes), nil
}
