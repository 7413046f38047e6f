package cluster

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	"github.com/starling-chat/starling/proto/namespaces"
)

// server is the cluster as other backends and services see it.
type server struct {
	clusterv1.UnimplementedClusterServiceServer
	cluster *Cluster
}

var _ clusterv1.ClusterServiceServer = (*server)(nil)

// Server gives the service that works on the sockets of all gateways.
func (c *Cluster) Server() clusterv1.ClusterServiceServer { return &server{cluster: c} }

const (
	defaultAckWait = 5 * time.Second
	maxAckWait     = 30 * time.Second
	// callMargin is what a call leaves of its caller's time for the way back.
	callMargin     = 300 * time.Millisecond
	maxPage        = 1000
	maxRoomsOfCall = 10
	maxPageBytes   = 3 << 20 // bytes
)

// within shortens a wait to what the deadline of the caller leaves, so that the caller gets a partial answer rather than none.
func within(ctx context.Context, wait time.Duration) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		wait = min(wait, max(time.Until(at)-callMargin, time.Millisecond))
	}
	return wait
}

// call has the cluster do an operation, and counts how that ended in the metrics.
func (a *server) call(
	ctx context.Context, name string, op *clusterv1.Operation, wait time.Duration, acks bool,
) (result, error) {
	g, err := a.cluster.call(ctx, op, within(ctx, wait), acks)
	if err != nil {
		a.cluster.stats.ClusterCalls.WithLabelValues(name, string(fault.KindOf(err))).Inc()
		return result{}, err
	}
	res := g.result()
	outcome := "ok"
	if res.missing > 0 || res.got < res.expected {
		outcome = "partial"
	}
	a.cluster.stats.ClusterCalls.WithLabelValues(name, outcome).Inc()
	return res, nil
}

// Emit implements ClusterServiceServer.
func (a *server) Emit(ctx context.Context, r *clusterv1.EmitRequest) (*clusterv1.EmitResponse, error) {
	if err := caller.RequireScope(ctx, caller.ScopeEmit); err != nil {
		return nil, err
	}
	target := targetOf(r)
	if target.Namespace == "" {
		target.Namespace = namespaces.Main
	}
	if err := checkTarget(target); err != nil {
		return nil, err
	}
	emit, err := emitOf(r)
	if err != nil {
		return nil, err
	}
	acks, wait := r.Ack != nil, a.cluster.cfg.Timeout
	if acks {
		if wait, err = ackWait(r.GetAck().GetTimeoutMs()); err != nil {
			return nil, err
		}
	}
	res, err := a.call(ctx, "emit", &clusterv1.Operation{
		Target: target, Act: &clusterv1.Operation_Emit{Emit: &clusterv1.EmitAct{Emit: emit, Volatile: r.GetVolatile(), Ack: acks}},
	}, wait, acks)
	if err != nil {
		return nil, err
	}
	response := &clusterv1.EmitResponse{
		Sockets: sum(res, (*clusterv1.Answer).GetSockets), MissingGateways: count(res.missing), Partial: res.missing > 0,
	}
	if acks {
		response.Expected, response.Missing = count(res.expected), count(res.expected-res.got)
		response.Partial = response.Partial || response.GetMissing() > 0
		response.Replies, response.Truncated = repliesOf(res, r.GetAck().GetArgsJson())
	}
	return response, nil
}

func ackWait(ms uint32) (time.Duration, error) {
	wait := time.Duration(ms) * time.Millisecond
	if wait > maxAckWait {
		return 0, fault.Newf(fault.Invalid, "ack.timeoutMs must not exceed %d", maxAckWait.Milliseconds())
	}
	if wait == 0 {
		wait = defaultAckWait
	}
	return wait, nil
}

// ListUserSockets implements ClusterServiceServer.
func (a *server) ListUserSockets(ctx context.Context, r *clusterv1.UserSocketsRequest) (*clusterv1.FetchSocketsResponse, error) {
	return a.fetch(ctx, &clusterv1.Target{Users: []string{r.GetUserId()}, Namespace: r.GetNamespace()}, r.GetLimit(), r.GetCursor())
}

// FetchSockets implements ClusterServiceServer.
func (a *server) FetchSockets(ctx context.Context, r *clusterv1.FetchSocketsRequest) (*clusterv1.FetchSocketsResponse, error) {
	return a.fetch(ctx, targetOf(r), r.GetLimit(), r.GetCursor())
}

func (a *server) fetch(ctx context.Context, target *clusterv1.Target, limit uint32, cursor string) (*clusterv1.FetchSocketsResponse, error) {
	if err := allowSockets(ctx, target); err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = maxPage
	}
	if limit > maxPage || len(cursor) > maxTargetID {
		return nil, fault.Newf(fault.Invalid, "limit must not exceed %d, and cursor must be one that was given", maxPage)
	}
	res, err := a.call(ctx, "fetch", &clusterv1.Operation{
		Target: target, Act: &clusterv1.Operation_Fetch{Fetch: &clusterv1.FetchAct{Cursor: cursor, Limit: limit}},
	}, a.cluster.cfg.Timeout, false)
	if err != nil {
		return nil, err
	}
	page, next := merge(res.answers, int(limit))
	return &clusterv1.FetchSocketsResponse{
		Sockets: page, NextCursor: next, Partial: res.missing > 0, MissingGateways: count(res.missing),
	}, nil
}

// merge makes one page of the gateways' pages. A gateway that has more was cut at its last socket, so nobody's sockets beyond
// the smallest such place may be shown yet.
func merge(answers []*clusterv1.Answer, limit int) (page []*clusterv1.SocketDetail, next string) {
	cut := ""
	for _, a := range answers {
		page = append(page, a.GetFound()...)
		if n := len(a.GetFound()); a.GetMore() && n > 0 && (cut == "" || a.GetFound()[n-1].GetSocketId() < cut) {
			cut = a.GetFound()[n-1].GetSocketId()
		}
	}
	slices.SortFunc(page, func(a, b *clusterv1.SocketDetail) int { return strings.Compare(a.GetSocketId(), b.GetSocketId()) })
	size := 0
	for i, d := range page {
		if size += proto.Size(d) + 8; i == limit || i > 0 && size > maxPageBytes || cut != "" && d.GetSocketId() > cut {
			return page[:i], page[i-1].GetSocketId()
		}
	}
	return page, cut
}

// DisconnectUserSockets implements ClusterServiceServer.
func (a *server) DisconnectUserSockets(ctx context.Context, r *clusterv1.UserSocketsRequest) (*clusterv1.DisconnectSocketsResponse, error) {
	return a.disconnect(ctx, &clusterv1.Target{Users: []string{r.GetUserId()}, Namespace: r.GetNamespace()}, false)
}

// DisconnectSockets implements ClusterServiceServer.
func (a *server) DisconnectSockets(ctx context.Context, r *clusterv1.DisconnectSocketsRequest) (*clusterv1.DisconnectSocketsResponse, error) {
	return a.disconnect(ctx, targetOf(r), r.GetClose())
}

func (a *server) disconnect(ctx context.Context, target *clusterv1.Target, whole bool) (*clusterv1.DisconnectSocketsResponse, error) {
	if err := allowSockets(ctx, target); err != nil {
		return nil, err
	}
	res, err := a.call(ctx, "disconnect", &clusterv1.Operation{
		Target: target, Act: &clusterv1.Operation_Disconnect{Disconnect: &clusterv1.DisconnectAct{Close: whole}},
	}, a.cluster.cfg.Timeout, false)
	if err != nil {
		return nil, err
	}
	return &clusterv1.DisconnectSocketsResponse{
		Closed: sum(res, (*clusterv1.Answer).GetDone), Partial: res.missing > 0, MissingGateways: count(res.missing),
	}, nil
}

// JoinRooms implements ClusterServiceServer.
func (a *server) JoinRooms(ctx context.Context, r *clusterv1.JoinRoomsRequest) (*clusterv1.JoinRoomsResponse, error) {
	target := targetOf(r)
	if err := allowRooms(ctx, target, "joinRooms", r.GetJoinRooms()); err != nil {
		return nil, err
	}
	res, err := a.call(ctx, "join", &clusterv1.Operation{
		Target: target, Act: &clusterv1.Operation_Join{Join: &clusterv1.JoinAct{Rooms: r.GetJoinRooms()}},
	}, a.cluster.cfg.RoomTimeout, false)
	if err != nil {
		return nil, err
	}
	response := &clusterv1.JoinRoomsResponse{
		Sockets: sum(res, (*clusterv1.Answer).GetSockets), Joined: sum(res, (*clusterv1.Answer).GetDone),
		Failed: sum(res, (*clusterv1.Answer).GetFailed), Partial: res.missing > 0, MissingGateways: count(res.missing),
	}
	for _, answer := range res.answers {
		left := max(0, maxFailures-len(response.GetFailures()))
		response.Failures = append(response.Failures, answer.GetFailures()[:min(left, len(answer.GetFailures()))]...)
	}
	return response, nil
}

// LeaveRooms implements ClusterServiceServer.
func (a *server) LeaveRooms(ctx context.Context, r *clusterv1.LeaveRoomsRequest) (*clusterv1.LeaveRoomsResponse, error) {
	target := targetOf(r)
	if err := allowRooms(ctx, target, "leaveRooms", r.GetLeaveRooms()); err != nil {
		return nil, err
	}
	res, err := a.call(ctx, "leave", &clusterv1.Operation{
		Target: target, Act: &clusterv1.Operation_Leave{Leave: &clusterv1.LeaveAct{Rooms: r.GetLeaveRooms()}},
	}, a.cluster.cfg.RoomTimeout, false)
	if err != nil {
		return nil, err
	}
	return &clusterv1.LeaveRoomsResponse{
		Sockets: sum(res, (*clusterv1.Answer).GetSockets), Left: sum(res, (*clusterv1.Answer).GetDone),
		Partial: res.missing > 0 || sum(res, (*clusterv1.Answer).GetFailed) > 0, MissingGateways: count(res.missing),
	}, nil
}

func sum(res result, of func(*clusterv1.Answer) uint32) (total uint32) {
	for _, a := range res.answers {
		total += of(a)
	}
	return total
}

func count(n int) uint32 { return uint32(max(n, 0)) } //nolint:gosec // counts of sockets and gateways
