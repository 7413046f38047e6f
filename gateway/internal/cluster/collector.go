package cluster

import (
	"context"
	"sync"
	"time"

	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
)

// collector collects the answers to one operation. The collector is complete when every gateway whose lease was valid has
// answered and, for an emit with acks, every socket that the event was sent to has acknowledged.
type collector struct {
	done chan struct{}
	acks bool

	mu        sync.Mutex          // guards what follows
	waiting   map[string]struct{} // gateways that have not answered
	late      map[string]struct{} // of those, the ones that nobody waits for any more
	refused   int                 // gateways without capacity
	answers   []*clusterv1.Answer
	replies   []*clusterv1.SocketAck
	size      int // bytes of replies
	truncated bool
	expected  int // sockets asked for an ack
	got       int
	complete  bool
}

const (
	// maxAnswer bounds the replies of one call, in bytes: gRPC's limit of 4 MB leaves room for more than it.
	maxAnswer = 3 << 20
	// bareReply is about what a reply without arguments takes.
	bareReply = 128
)

func newCollector(gateways map[string]struct{}, acks bool) *collector {
	return &collector{done: make(chan struct{}), acks: acks, waiting: gateways, late: make(map[string]struct{})}
}

// add takes in one answer, also that of a gateway that was not known yet.
func (g *collector) add(a *clusterv1.Answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !a.GetContinued() {
		delete(g.waiting, a.GetGatewayId())
		delete(g.late, a.GetGatewayId())
		if a.GetOverloaded() {
			g.refused++
		} else if g.acks {
			g.expected += int(a.GetSockets())
		}
		g.answers = append(g.answers, a)
	}
	for _, reply := range a.GetAcks() {
		g.got++
		g.keepLocked(reply)
	}
	a.Acks = nil
	g.completeLocked()
}

// keepLocked keeps a reply, without its arguments when all replies together would be too large.
func (g *collector) keepLocked(reply *clusterv1.SocketAck) {
	size := bareReply + len(reply.GetArgs())
	for _, a := range reply.GetAttachments() {
		size += len(a)
	}
	if g.size+size > maxAnswer {
		reply.Args, reply.Attachments, reply.Truncated = nil, nil, true
		size = bareReply
	}
	g.truncated = g.truncated || reply.GetTruncated()
	if g.size+size > maxAnswer {
		return // the reply is counted all the same
	}
	g.size += size
	g.replies = append(g.replies, reply)
}

// completeLocked ends the wait when nothing is missing.
func (g *collector) completeLocked() {
	if !g.complete && len(g.waiting) == 0 && g.got >= g.expected {
		g.complete = true
		close(g.done)
	}
}

// giveUp ends the wait for the gateways that have not answered. Answers that come from them later still count.
func (g *collector) giveUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id := range g.waiting {
		g.late[id] = struct{}{}
	}
	clear(g.waiting)
	g.completeLocked()
}

// await waits until the collector is complete or timeout is over. With acks, it waits for the gateways' answers no longer than
// first. The only error is that of ctx.
func (g *collector) await(ctx context.Context, timeout, first time.Duration, acks bool) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	answers := time.NewTimer(first)
	defer answers.Stop()
	for {
		select {
		case <-g.done:
			return nil
		case <-deadline.C:
			return nil
		case <-answers.C:
			if acks {
				g.giveUp()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// result is what a call has collected when its wait is over. Nothing changes it any more.
type result struct {
	answers   []*clusterv1.Answer
	replies   []*clusterv1.SocketAck
	missing   int // gateways
	expected  int
	got       int
	truncated bool
}

func (g *collector) result() result {
	g.mu.Lock()
	defer g.mu.Unlock()
	return result{
		answers: g.answers, replies: g.replies, missing: len(g.waiting) + len(g.late) + g.refused,
		expected: g.expected, got: min(g.got, g.expected), truncated: g.truncated,
	}
}
