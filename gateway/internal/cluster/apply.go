package cluster

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
)

// maxFound bounds the sockets of one answer, in bytes: a NATS message holds 1 MB.
const maxFound = 600 << 10

// apply does an operation with the sockets of this gateway, and answers it. Joins and leaves wait for clients and services, so
// apply starts a task for each.
func (c *Cluster) apply(ctx context.Context, msg *nats.Msg, flushes *transport.FlushSet) {
	var op clusterv1.Operation
	if err := proto.Unmarshal(msg.Data, &op); err != nil {
		c.log.WarnContext(ctx, "operation cannot be decoded", slog.Any("error", err))
		return
	}
	sockets := c.collect(op.GetTarget())
	switch act := op.GetAct().(type) {
	case *clusterv1.Operation_Emit:
		c.answer(msg.Reply, c.emit(msg.Reply, &op, act.Emit, sockets, flushes))
	case *clusterv1.Operation_Fetch:
		c.answer(msg.Reply, c.fetch(act.Fetch, sockets))
	case *clusterv1.Operation_Disconnect:
		c.answer(msg.Reply, c.disconnect(act.Disconnect, sockets))
	case *clusterv1.Operation_Join:
		c.task(ctx, msg.Reply, &op, func(ctx context.Context) *clusterv1.Answer { return c.join(ctx, sockets, act.Join.GetRooms()) })
	case *clusterv1.Operation_Leave:
		c.task(ctx, msg.Reply, &op, func(ctx context.Context) *clusterv1.Answer { return c.leave(ctx, sockets, act.Leave.GetRooms()) })
	default:
		c.log.WarnContext(ctx, "operation is of a kind that this gateway does not know") // an upgrade is under way
		c.answer(msg.Reply, &clusterv1.Answer{Overloaded: true})
	}
}

// answerMargin is how long before the asking gateway's deadline an answer is sent, complete or not.
const answerMargin = 200 * time.Millisecond

// task answers a join or leave from a goroutine of its own, in time for the gateway that asked.
func (c *Cluster) task(ctx context.Context, reply string, op *clusterv1.Operation, do func(context.Context) *clusterv1.Answer) {
	select {
	case c.taskSlots <- struct{}{}:
	default:
		c.answer(reply, &clusterv1.Answer{Overloaded: true})
		return
	}
	timeout := time.Duration(op.GetTimeoutMs()) * time.Millisecond
	c.tasks.Go(func() {
		defer func() { <-c.taskSlots }()
		ctx, cancel := context.WithTimeout(ctx, max(timeout-answerMargin, timeout/2))
		defer cancel()
		c.answer(reply, do(ctx))
	})
}

// collect returns the sockets of this gateway that a target names, each once.
func (c *Cluster) collect(t *clusterv1.Target) []*session.Socket {
	registry := c.registry
	keep := c.exceptOf(t)
	var sockets []*session.Socket
	if t.GetAll() {
		registry.Each(func(s *session.Socket) {
			if keep(s) {
				sockets = append(sockets, s)
			}
		})
		return sockets
	}
	seen := make(map[*session.Socket]struct{})
	add := func(list ...*session.Socket) {
		for _, s := range list {
			if _, twice := seen[s]; !twice && keep(s) {
				seen[s] = struct{}{}
				sockets = append(sockets, s)
			}
		}
	}
	for _, id := range t.GetRooms() {
		add(c.hub.Members(id)...)
	}
	for _, id := range t.GetUsers() {
		add(registry.User(id)...)
	}
	for _, id := range t.GetSockets() {
		if s, _ := registry.Socket(id); s != nil {
			add(s)
		}
	}
	return sockets
}

// exceptOf returns a function that tells whether a socket is in the target's namespace and not among its exceptions.
func (c *Cluster) exceptOf(t *clusterv1.Target) func(*session.Socket) bool {
	users, ids := setOf(t.GetExcept().GetUsers()), setOf(t.GetExcept().GetSockets())
	return func(s *session.Socket) bool {
		if t.GetNamespace() != "" && s.Namespace != t.GetNamespace() {
			return false
		}
		if _, out := users[s.UserID]; out {
			return false
		}
		if _, out := ids[s.ID]; out {
			return false
		}
		if len(t.GetExcept().GetRooms()) == 0 {
			return true
		}
		rooms := c.sockets.Rooms(s)
		return !slices.ContainsFunc(t.GetExcept().GetRooms(), func(id string) bool { return slices.Contains(rooms, id) })
	}
}

func setOf(list []string) map[string]struct{} {
	set := make(map[string]struct{}, len(list))
	for _, id := range list {
		set[id] = struct{}{}
	}
	return set
}

// fetch lists the sockets whose ids are above the cursor, the smallest ids first.
func (c *Cluster) fetch(act *clusterv1.FetchAct, sockets []*session.Socket) *clusterv1.Answer {
	limit := int(act.GetLimit())
	byID := func(a, b *session.Socket) int { return strings.Compare(a.ID, b.ID) }
	a := &clusterv1.Answer{Sockets: uint32(len(sockets))} //nolint:gosec // bounded by descriptors
	best := make([]*session.Socket, 0, min(len(sockets), 2*limit+2))
	for _, s := range sockets {
		if s.ID <= act.GetCursor() {
			continue
		}
		if best = append(best, s); len(best) > 2*limit+1 { // sorted now and then, so that few are kept of many
			slices.SortFunc(best, byID)
			best = best[:limit+1]
		}
	}
	slices.SortFunc(best, byID)
	size := 0
	for _, s := range best {
		d := c.detail(s)
		if size += proto.Size(d) + 8; len(a.Found) == limit || size > maxFound && len(a.Found) > 0 {
			a.More = true
			break
		}
		a.Found = append(a.Found, d)
	}
	return a
}

// detail describes a socket to a caller.
func (c *Cluster) detail(s *session.Socket) *clusterv1.SocketDetail {
	d := &clusterv1.SocketDetail{
		SocketId: s.ID, UserId: s.UserID, Namespace: s.Namespace, GatewayId: c.cfg.Gateway,
	}
	if _, since := c.registry.Socket(s.ID); !since.IsZero() {
		d.ConnectedAt = timestamppb.New(since)
	}
	d.Rooms = c.sockets.Rooms(s)
	slices.Sort(d.Rooms)
	return d
}

// disconnect takes the sockets out of their namespaces. With close, it ends their connections, and with them the sockets of
// other namespaces that share these.
func (c *Cluster) disconnect(act *clusterv1.DisconnectAct, sockets []*session.Socket) *clusterv1.Answer {
	gone := make(map[*session.Socket]struct{}, len(sockets))
	end := func(s *session.Socket) {
		if _, twice := gone[s]; !twice {
			gone[s] = struct{}{}
			s.Disconnect(transport.ReasonServer)
		}
	}
	for _, s := range sockets {
		if act.GetClose() {
			for _, other := range c.registry.User(s.UserID) {
				if other.Session() == s.Session() {
					end(other)
				}
			}
		}
		end(s)
		if act.GetClose() {
			s.Close(transport.CodeNormal, transport.ReasonServer)
		}
	}
	return &clusterv1.Answer{Sockets: uint32(len(sockets)), Done: uint32(len(gone))} //nolint:gosec // bounded by descriptors
}
