package relay

import (
	"context"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	"github.com/starling-chat/starling/proto/namespaces"
)

// goneInterval is how often a wait for a client looks whether it is still there.
const goneInterval = 100 * time.Millisecond

// maxFailures bounds the reasons that are told of one operation; all are counted.
const maxFailures = 100

// tally counts what was done for pairs of a socket and a room.
type tally struct {
	mu     sync.Mutex // guards answer
	answer *clusterv1.Answer
}

func (t *tally) count(s *session.Socket, roomID string, done bool, f *fault.Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case f != nil:
		t.answer.Failed++
		if len(t.answer.Failures) < maxFailures {
			t.answer.Failures = append(t.answer.Failures, &clusterv1.JoinFailure{
				SocketId: s.ID, RoomId: roomID, Code: string(f.Kind), Message: f.Message,
			})
		}
	case done:
		t.answer.Done++
	}
}

// join has sockets enter rooms as if their clients had asked: chat-service decides, history comes first, nothing is lost or
// repeated. Only the ack is ours.
func (c *cluster) join(ctx context.Context, sockets []*session.Socket, rooms []string) *clusterv1.Answer {
	return c.each(ctx, "cluster join", sockets, rooms, func(ctx context.Context, cl *client, roomID string) (bool, error) {
		args := append(rawjson.AppendString([]byte{'['}, roomID), ']')
		p := &pending{event: eventJoin, args: args, receivedAt: time.Now(), ackID: -1}
		return true, c.relay.enter(ctx, cl, p, roomID)
	})
}

// leave takes sockets out of rooms. Memberships are chat-service's and stay.
func (c *cluster) leave(ctx context.Context, sockets []*session.Socket, rooms []string) *clusterv1.Answer {
	return c.each(ctx, "cluster leave", sockets, rooms, func(_ context.Context, cl *client, roomID string) (bool, error) {
		in, _ := cl.inRoom(roomID)
		if in {
			c.relay.left(cl, &pending{event: eventLeave, ackID: -1, room: roomID})
		}
		return in, nil
	})
}

// each runs do for every socket and room, some at a time. do takes its turn among the socket's client events: it neither
// overtakes a join on its way nor is overtaken by one.
func (c *cluster) each(
	ctx context.Context, name string, sockets []*session.Socket, rooms []string,
	do func(context.Context, *client, string) (bool, error),
) *clusterv1.Answer {
	t := &tally{answer: &clusterv1.Answer{Sockets: uint32(len(sockets))}} //nolint:gosec // bounded by descriptors
	var wg sync.WaitGroup
	for _, s := range sockets {
		cl, ok := s.State.(*client)
		if !ok || !namespaces.HasRooms(s.Namespace) {
			for _, roomID := range rooms {
				t.count(s, roomID, false, fault.New(fault.Invalid, "The namespace has no rooms"))
			}
			continue
		}
		for _, roomID := range rooms {
			select {
			case c.workers <- struct{}{}:
			case <-ctx.Done():
				t.count(s, roomID, false, fault.New(fault.Timeout, "Not done in time"))
				continue
			}
			wg.Go(func() {
				defer func() { <-c.workers }()
				done, err := inTurn(ctx, cl, name, func() (bool, error) { return do(ctx, cl, roomID) })
				var f *fault.Error
				if err != nil {
					f = c.relay.faultOf(err, name)
				}
				t.count(s, roomID, done, f)
			})
		}
	}
	wg.Wait()
	return t.answer
}

// inTurn runs do when the client events before it are answered, and holds back those after it. When ctx ends before its
// turn, do does not run.
func inTurn(ctx context.Context, cl *client, name string, do func() (bool, error)) (bool, error) {
	type outcome struct {
		done bool
		err  error
	}
	result := make(chan outcome, 1)
	cl.enqueue(&pending{event: name, ackID: -1, act: func(cl *client, p *pending) {
		defer cl.done(p)
		if ctx.Err() != nil {
			return
		}
		done, err := do()
		result <- outcome{done, err}
	}})
	cl.readEnded()
	look := time.NewTicker(goneInterval)
	defer look.Stop()
	for {
		select {
		case o := <-result:
			return o.done, o.err
		case <-ctx.Done():
			return false, fault.New(fault.Timeout, "Not done in time")
		case <-look.C:
			cl.mu.Lock()
			gone := cl.gone
			cl.mu.Unlock()
			if gone { // its queue is dropped
				return false, fault.New(fault.Unavailable, "The socket is gone")
			}
		}
	}
}
