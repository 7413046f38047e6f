//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/internal/sioclient"
)

// chatter is one connection of an honest client.
type chatter struct {
	link    sioclient.Link
	welcome sioclient.Welcome
	ended   chan struct{} // then err is set

	mu      sync.Mutex // guards what follows
	offset  string     // of the last event
	next    int64
	waiting map[int64]chan json.RawMessage
	err     error // why it ended
}

// entry is the handler of a chatter's connection until it is in, and after.
type entry struct {
	*chatter
	in chan struct{}
}

// enter connects to the namespace "/" over a fresh link.
func enter(ctx context.Context, link sioclient.Link, auth sioclient.Auth) (*chatter, error) {
	c := &chatter{link: link, ended: make(chan struct{}), waiting: make(map[int64]chan json.RawMessage)}
	handler := &entry{chatter: c, in: make(chan struct{})}
	conn, err := sioclient.NewConn(link, handler)
	if err == nil {
		err = conn.Connect(auth)
	}
	if err != nil {
		link.Reset()
		return nil, err
	}
	go c.read(conn)
	select {
	case <-handler.in:
		return c, nil
	case <-c.ended:
		return nil, c.err
	case <-ctx.Done():
		c.close()
		return nil, ctx.Err()
	}
}

func (c *chatter) read(conn *sioclient.Conn) {
	var err error
	for err == nil {
		err = conn.Step()
	}
	c.link.Reset()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	close(c.ended)
}

// Connected implements sioclient.Handler.
func (e *entry) Connected(w sioclient.Welcome, early []sioclient.Message) error {
	e.welcome = w
	for _, m := range early {
		e.passed(m)
	}
	close(e.in)
	return nil
}

// Refused implements sioclient.Handler.
func (*entry) Refused(sioclient.Refusal) {}

// Event implements sioclient.Handler.
func (e *entry) Event(m sioclient.Message) error {
	e.passed(m)
	return nil
}

func (c *chatter) passed(m sioclient.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.Offset != "" {
		c.offset = m.Offset
	}
}

func (c *chatter) lastOffset() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// Ack implements sioclient.Handler.
func (e *entry) Ack(id int64, body []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if answer := e.waiting[id]; answer != nil {
		answer <- append(json.RawMessage(nil), body...)
		delete(e.waiting, id)
	}
	return nil
}

// call emits an event and waits for a good ack.
func (c *chatter) call(ctx context.Context, event string, arg any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer := make(chan json.RawMessage, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	c.waiting[id] = answer
	c.mu.Unlock()
	packet, err := sioclient.AppendEvent(nil, id, event, arg)
	if err != nil {
		return err
	}
	if err := c.link.Write(packet); err != nil {
		return fmt.Errorf("%s: %w", event, err)
	}
	select {
	case body := <-answer:
		var acks []struct{ OK bool }
		if err := json.Unmarshal(body, &acks); err != nil || len(acks) != 1 || !acks[0].OK {
			return fmt.Errorf("%s is answered with %.200s", event, body)
		}
		return nil
	case <-c.ended:
		return fmt.Errorf("%s: %w", event, c.err)
	case <-ctx.Done():
		return fmt.Errorf("%s is not acknowledged: %w", event, ctx.Err())
	}
}

// close leaves.
func (c *chatter) close() {
	c.link.Close()
	<-c.ended
}

// message is an argument of message:send.
func message(room string) map[string]string {
	return map[string]string{"roomId": room, "content": "a message of somebody who has done nothing"}
}

// pause waits, or tells that ctx has ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
