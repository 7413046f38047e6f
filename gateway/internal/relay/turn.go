package relay

import (
	"context"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/namespaces"
)

// goneInterval is how often a wait for a client looks whether it is still there.
const goneInterval = 100 * time.Millisecond

// Rooms lists the rooms that a socket is in.
func (r *Relay) Rooms(s *session.Socket) []string {
	c, ok := s.State.(*client)
	if !ok {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roomIDsLocked()
}

// Join has a socket enter a room as if its client had asked: chat-service decides, history comes first, nothing is lost or
// repeated; only there is no ack. Join takes its turn among the socket's client events: it neither overtakes one on its way
// nor is overtaken. When ctx, which has a deadline, ends before its turn, nothing is done.
func (r *Relay) Join(ctx context.Context, s *session.Socket, roomID string) error {
	c, err := roomClient(s)
	if err != nil {
		return err
	}
	_, err = inTurn(ctx, c, "cluster join", func() (bool, error) {
		args := append(rawjson.AppendString([]byte{'['}, roomID), ']')
		p := &pending{event: eventJoin, args: args, receivedAt: time.Now(), ackID: -1}
		return true, r.enter(ctx, c, p, roomID)
	})
	return err
}

// Leave takes a socket out of a room, in its turn as well; it reports whether the socket was in it. Its user's membership is
// chat-service's and stays.
func (r *Relay) Leave(ctx context.Context, s *session.Socket, roomID string) (was bool, err error) {
	c, err := roomClient(s)
	if err != nil {
		return false, err
	}
	return inTurn(ctx, c, "cluster leave", func() (bool, error) {
		in, _ := c.inRoom(roomID)
		if in {
			r.left(c, &pending{event: eventLeave, ackID: -1, room: roomID})
		}
		return in, nil
	})
}

// roomClient gives the client of a socket that can enter rooms.
func roomClient(s *session.Socket) (*client, error) {
	c, ok := s.State.(*client)
	if !ok || !namespaces.HasRooms(s.Namespace) {
		return nil, fault.New(fault.Invalid, "The namespace has no rooms")
	}
	return c, nil
}

// inTurn runs do when the client events before it are answered, and holds back those after it. When ctx ends before its
// turn, do does not run.
func inTurn(ctx context.Context, c *client, name string, do func() (bool, error)) (bool, error) {
	type outcome struct {
		done bool
		err  error
	}
	result := make(chan outcome, 1)
	c.enqueue(&pending{event: name, ackID: -1, task: func(c *client, p *pending) {
		defer c.done(p)
		if ctx.Err() != nil {
			return
		}
		done, err := do()
		result <- outcome{done, err}
	}})
	c.readEnded()
	look := time.NewTicker(goneInterval)
	defer look.Stop()
	for {
		select {
		case o := <-result:
			return o.done, o.err
		case <-ctx.Done():
			return false, fault.New(fault.Timeout, "Not done in time")
		case <-look.C:
			if c.isGone() { // its queue is dropped
				return false, fault.New(fault.Unavailable, "The socket is gone")
			}
		}
	}
}
