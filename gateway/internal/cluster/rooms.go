package cluster

import (
	"context"
	"log/slog"
	"sync"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/proto/fault"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
)

// maxFailures bounds how many failures of one operation are explained. All of them are counted.
const maxFailures = 100

// counter counts for how many pairs of a socket and a room something was done, and for how many it failed.
type counter struct {
	mu     sync.Mutex // guards answer
	answer *clusterv1.Answer
}

func (n *counter) count(s *session.Socket, roomID string, done bool, f *fault.Error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case f != nil:
		n.answer.Failed++
		if len(n.answer.Failures) < maxFailures {
			n.answer.Failures = append(n.answer.Failures, &clusterv1.JoinFailure{
				SocketId: s.ID, RoomId: roomID, Code: string(f.Kind), Message: f.Message,
			})
		}
	case done:
		n.answer.Done++
	}
}

// join has sockets enter rooms as if their clients had asked, except that there is no ack.
func (c *Cluster) join(ctx context.Context, sockets []*session.Socket, rooms []string) *clusterv1.Answer {
	return c.each(ctx, "join", sockets, rooms, func(ctx context.Context, s *session.Socket, roomID string) (bool, error) {
		return true, c.sockets.Join(ctx, s, roomID)
	})
}

// leave takes sockets out of rooms. The memberships of their users are chat-service's, and stay.
func (c *Cluster) leave(ctx context.Context, sockets []*session.Socket, rooms []string) *clusterv1.Answer {
	return c.each(ctx, "leave", sockets, rooms, c.sockets.Leave)
}

// each runs do for every pair of a socket and a room, as many at a time as there are room workers, and counts the outcomes.
func (c *Cluster) each(
	ctx context.Context, name string, sockets []*session.Socket, rooms []string,
	do func(context.Context, *session.Socket, string) (bool, error),
) *clusterv1.Answer {
	t := &counter{answer: &clusterv1.Answer{Sockets: uint32(len(sockets))}} //nolint:gosec // bounded by descriptors
	var wg sync.WaitGroup
	for _, s := range sockets {
		for _, roomID := range rooms {
			select {
			case c.roomWorkers <- struct{}{}:
			case <-ctx.Done():
				t.count(s, roomID, false, fault.New(fault.Timeout, "Not done in time"))
				continue
			}
			wg.Go(func() {
				defer func() { <-c.roomWorkers }()
				done, err := do(ctx, s, roomID)
				t.count(s, roomID, done, fault.Log(ctx, c.log, err, slog.String("operation", name)))
			})
		}
	}
	wg.Wait()
	return t.answer
}
