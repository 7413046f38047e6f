//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/starling-chat/starling/test/internal/sioclient"
)

const (
	// frameTimeout is shorter than usual, so that a packet that stays unfinished is ended within the time of one attack.
	frameTimeout = 4 * time.Second

	frameSockets   = 600
	frameBytes     = 950_000
	pieceBytes     = 64 << 10
	pieceEvery     = 50 * time.Millisecond // a whole frame in less than a second
	halfSockets    = 300
	halfBytes      = 50_000
	attachmentTime = 2*frameTimeout + time.Second // in which they have to be closed: longer than the short form lasts
)

// socket is an attacker's WebSocket. What comes is read and forgotten, save for the close frame.
type socket struct {
	net.Conn
	mask    [4]byte
	closed  chan struct{}
	acked   chan struct{} // closed by the first ack
	answers chan struct{} // to CONNECTs, as far as there is somebody who waits
	code    atomic.Int32  // of the close frame; 0 = there was none
}

// dialSocket opens a WebSocket; a token, when there is one, is shown.
func dialSocket(ctx context.Context, address, token string) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, early, _, err := ws.Dial(ctx, "ws://"+address+sioclient.Path+"websocket")
	if err != nil {
		return nil, err
	}
	reader := io.Reader(conn)
	if early != nil {
		reader = io.MultiReader(early, conn)
	}
	return begin(ctx, conn, reader, token)
}

// dialThrough opens a session at one gateway and its WebSocket at another one, which carries it for the first.
func dialThrough(ctx context.Context, owner, carrier, token string) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, early, err := sioclient.DialUpgradedConn(ctx, owner, carrier)
	if err != nil {
		return nil, err
	}
	return begin(ctx, conn, early, token)
}

// begin reads what comes over a WebSocket from now on, and shows a token, when there is one.
func begin(ctx context.Context, conn net.Conn, early io.Reader, token string) (*socket, error) {
	s := &socket{Conn: conn, closed: make(chan struct{}), acked: make(chan struct{}), answers: make(chan struct{}, 1)}
	go s.read(early)
	if token == "" {
		return s, nil
	}
	if err := s.say(string(sioclient.AppendConnect(nil, sioclient.Auth{Token: token}))); err != nil {
		s.end()
		return nil, err
	}
	select {
	case <-s.answers:
		return s, nil
	case <-s.closed:
		return nil, errors.New("closed before CONNECT was answered")
	case <-ctx.Done():
		s.end()
		return nil, ctx.Err()
	}
}

func (s *socket) read(r io.Reader) {
	defer close(s.closed)
	acked := s.acked
	payload := make([]byte, 0, 4<<10)
	for {
		header, err := ws.ReadHeader(r)
		if err != nil {
			return
		}
		payload = append(payload[:0], make([]byte, min(header.Length, 4<<10))...)
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, r, header.Length-int64(len(payload))); err != nil {
			return
		}
		switch {
		case header.OpCode == ws.OpClose && len(payload) >= 2:
			s.code.Store(int32(binary.BigEndian.Uint16(payload)))
		case bytes.HasPrefix(payload, []byte("40")) || bytes.HasPrefix(payload, []byte("44")):
			select {
			case s.answers <- struct{}{}:
			default:
			}
		case acked != nil && bytes.HasPrefix(payload, []byte("43")):
			close(acked)
			acked = nil
		}
	}
}

func (s *socket) say(packets ...string) error {
	var out []byte
	for _, p := range packets {
		out = sioclient.AppendFrame(out, ws.OpText, []byte(p), s.mask)
	}
	return s.send(out)
}

func (s *socket) send(frames []byte) error {
	_ = s.SetWriteDeadline(time.Now().Add(patience))
	_, err := s.Write(frames)
	return err
}

// sendSlowly sends in pieces, and no more to a socket that is closed. A whole payload at once fills the buffers of the kernel before
// anybody can refuse it: hundreds of megabytes a second, copied by the machine under test for the attacker.
func (s *socket) sendSlowly(ctx context.Context, payload []byte) {
	for piece := range slices.Chunk(payload, pieceBytes) {
		if s.send(piece) != nil {
			return
		}
		select {
		case <-s.closed:
			return
		case <-ctx.Done():
			return
		case <-time.After(pieceEvery):
		}
	}
}

func (s *socket) end() {
	_ = s.Close()
	<-s.closed
}

// outcome waits for the end of a socket, which it hurries when ctx ends.
func (s *socket) outcome(ctx context.Context) string {
	select {
	case <-s.closed:
	case <-ctx.Done():
		s.end()
		return ""
	}
	_ = s.Close()
	if code := s.code.Load(); code != 0 {
		return "closed with " + strconv.Itoa(int(code))
	}
	return "closed"
}

// unfinishedFrames opens sockets, some with a token, and sends each of them nearly all of a large frame.
func unfinishedFrames(ctx context.Context, t *target) (string, error) {
	n := frameSockets
	if t.short {
		n /= 2
	}
	head := []byte{0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // text, masked with nothing
	binary.BigEndian.PutUint64(head[2:10], frameBytes)
	payload := bytes.Repeat([]byte("x"), frameBytes-10)
	copy(payload, `42["room:message",{"roomId":"r","x":"`)
	outcomes := crowd(ctx, n, func(ctx context.Context, i int) string {
		token := ""
		if i%6 == 0 {
			token = t.token("framer")
		}
		s, err := dialSocket(ctx, t.gateways[i%2], token)
		if err != nil {
			return "not let in"
		}
		_ = s.send(head)
		s.sendSlowly(ctx, payload)
		return s.outcome(ctx) // what is closed meanwhile says so
	})
	return fmt.Sprintf("%d sockets with %d bytes of an unfinished frame: %s", n, frameBytes-10, outcomes), nil
}

// unfinishedAttachments sends events whose attachments do not come. A packet has one deadline for all of it: after that the socket is
// closed.
func unfinishedAttachments(ctx context.Context, t *target) (string, error) {
	packet := `451-["room:message",{"roomId":"r","file":{"_placeholder":true,"num":0},"x":"` + strings.Repeat("x", halfBytes) + `"}]`
	var kept atomic.Int64
	outcomes := crowd(ctx, halfSockets, func(ctx context.Context, i int) string {
		s, err := dialSocket(ctx, t.gateways[i%2], t.token("attacher-"+strconv.Itoa(i%10)))
		if err != nil {
			return "not let in"
		}
		began := time.Now()
		if err := s.say(packet); err != nil {
			return s.outcome(ctx)
		}
		outcome := s.outcome(ctx)
		if ctx.Err() != nil && time.Since(began) > attachmentTime+t.within {
			kept.Add(1)
		}
		return outcome
	})
	var err error
	if n := kept.Load(); n > 0 {
		err = fmt.Errorf("%d sockets with an unfinished packet stayed open", n)
	}
	return fmt.Sprintf("%d sockets wait with %d bytes for an attachment that does not come: %s", halfSockets, halfBytes, outcomes), err
}

const connectors = 4 // sockets

// badConnects asks for the namespace with bad tokens, as fast as it is answered.
func badConnects(ctx context.Context, t *target) (string, error) {
	return connects(ctx, t, `40{"token":"not a token"}`, "")
}

// connectCycles connects and disconnects, over and over. Each time leaves the state of a socket that could be recovered, unless it
// left on purpose; when there is no room for more, recovery must still work for others.
func connectCycles(ctx context.Context, t *target) (string, error) {
	did, err := connects(ctx, t, string(sioclient.AppendConnect(nil, sioclient.Auth{Token: t.token("cyclist")})), "41")
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if failed := t.recovers(after); failed != nil {
		return did, fmt.Errorf("afterwards nobody is recovered: %w", failed)
	}
	return did + "; recovery works", err
}

// connects says a packet that is answered, and another one, over and over.
func connects(ctx context.Context, t *target, ask, then string) (string, error) {
	var answered atomic.Int64
	outcomes := crowdUntil(ctx, t.enough, t.each, connectors, func(ctx context.Context, i int) string {
		s, err := dialSocket(ctx, t.gateways[i%2], "")
		if err != nil {
			return "not let in"
		}
		for ctx.Err() == nil {
			if s.say(ask) != nil {
				break
			}
			select {
			case <-s.answers:
				answered.Add(1)
			case <-s.closed:
				return s.outcome(ctx)
			case <-ctx.Done():
			}
			if then != "" && s.say(then) != nil {
				break
			}
		}
		return s.outcome(ctx)
	})
	did := fmt.Sprintf("%d CONNECTs answered over %d sockets: %s", answered.Load(), connectors, outcomes)
	return did, mustClose(did)
}

// recovers has a client lose its connection and come back.
func (t *target) recovers(ctx context.Context) error {
	dial := func() (sioclient.Link, error) { return sioclient.DialWebSocket(ctx, t.gateways[1], 0) }
	link, err := dial()
	if err != nil {
		return err
	}
	auth := sioclient.Auth{Token: t.token("loser")}
	c, err := enter(ctx, link, auth)
	if err != nil {
		return err
	}
	if err := c.call(ctx, "room:join", roomOf("loser")); err != nil {
		return err
	}
	if err := c.call(ctx, "message:send", message(roomOf("loser"))); err != nil { // its event has the offset
		return err
	}
	for c.lastOffset() == "" {
		if err := pause(ctx, probeEvery); err != nil {
			return fmt.Errorf("no event came: %w", err)
		}
	}
	if err := pause(ctx, time.Second); err != nil { // its state is kept a moment later
		return err
	}
	c.link.Reset()
	<-c.ended
	if link, err = dial(); err != nil {
		return err
	}
	auth.PID, auth.Offset = c.welcome.PID, c.lastOffset()
	again, err := enter(ctx, link, auth)
	if err != nil {
		return err
	}
	defer again.close()
	if again.welcome.SID != c.welcome.SID {
		return errors.New("the client has a new session")
	}
	return nil
}
