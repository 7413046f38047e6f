package relay

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/run"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
)

const (
	takeoverTimeout = 500 * time.Millisecond
	// saveInterval is between looks for states that have to be written again.
	saveInterval = 30 * time.Second
)

// Takeover ends the socket with a private id, because its client came back at another gateway. done is called once everything
// here knows, or takes too long to. Takeover does not block.
func (r *Relay) Takeover(pid string, done func()) {
	holders := r.holders.Of(pid)
	if len(holders) == 0 {
		done()
		return
	}
	for _, c := range holders {
		c.socket.Close(transport.CodeNormal, transport.ReasonReplaced)
	}
	r.tasks.Go(func() {
		timer := time.NewTimer(takeoverTimeout)
		defer timer.Stop()
		for _, c := range holders {
			select {
			case <-c.whenEnded():
			case <-timer.C:
				done()
				return
			}
		}
		done()
	})
}

// hold notes that a client is here, and reports false when it is gone already.
func (r *Relay) hold(c *client) bool {
	return r.holders.Add(c, func() bool { return !c.isGone() })
}

// save writes the state of a client that can be recovered. One that is gone may live on elsewhere: its state is not ours.
func (r *Relay) save(c *client) {
	if c.pid == "" || !r.hold(c) {
		return
	}
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	state := c.stateLocked(c.rooms)
	c.mu.Unlock()
	r.store.Save(c.pid, state)
}

// saveEnd writes how a socket ended. A client or server that left the namespace meant it; every other end may be recovered.
func (r *Relay) saveEnd(c *client, reason transport.Reason) {
	if c.pid == "" {
		return
	}
	r.holders.Remove(c.pid, c)
	if reason == transport.ReasonReplaced {
		return // the new gateway's state counts
	}
	c.mu.Lock()
	generation := c.generation
	c.mu.Unlock()
	r.store.End(c.pid, &enginev1.SessionEnd{
		Nonce: c.nonceText(), Generation: generation,
		Final: reason == transport.ReasonLeft || reason == transport.ReasonServer,
	})
}

// adopt makes the socket, with the rooms that it is to enter again, this gateway's; it fails when another gateway was faster.
func (r *Relay) adopt(ctx context.Context, c *client, rooms []clientRoom, revision uint64) error {
	c.mu.Lock()
	state := c.stateLocked(rooms)
	c.mu.Unlock()
	r.holders.BeginAdoption(c.pid, c)
	defer r.holders.EndAdoption(c.pid, c)
	if err := r.store.Adopt(ctx, c.pid, state, revision); err != nil {
		return err
	}
	r.hold(c)
	return nil
}

// keepStates writes the states of sockets that are here again before the bucket drops them.
func (r *Relay) keepStates(ctx context.Context) error {
	if !r.store.On() {
		<-ctx.Done()
		return ctx.Err()
	}
	return run.Every(ctx, saveInterval, func(now time.Time) {
		r.registry.Each(func(s *session.Socket) {
			if c, ok := s.State.(*client); ok && c.savedBefore(now.Add(-r.store.Lifetime()/3)) {
				r.save(c)
			}
		})
	})
}

func (c *client) savedBefore(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.saved) < t.Unix()
}

// stateLocked describes the client, in the given rooms, for another gateway; c.mu is held.
func (c *client) stateLocked(rooms []clientRoom) *enginev1.SessionState {
	state := &enginev1.SessionState{
		SocketId: c.socket.ID, Namespace: c.socket.Namespace, UserId: c.socket.UserID, Nonce: c.nonceText(), Generation: c.generation,
		Since: timestamppb.New(time.UnixMilli(c.logSince)),
	}
	c.saved = uint32(time.Now().Unix()) //nolint:gosec // until 2106
	for _, room := range rooms {
		state.Rooms = append(state.Rooms, &enginev1.SessionRoom{Index: room.index, RoomId: room.id, Seq: room.seq})
	}
	return state
}
