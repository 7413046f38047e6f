package userlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/replay"
	"github.com/starling-chat/starling/gateway/internal/turns"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	"github.com/starling-chat/starling/proto/limits"
)

func (l *Logs) push(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = append(l.due, e) // bounded by the sockets that live here
}

// pop gives up to limit entries whose turn it is.
func (l *Logs) pop(now time.Time, limit int) []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < min(limit, len(l.due)) && !now.Before(l.due[n].at) {
		n++
	}
	turn := append([]*entry(nil), l.due[:n]...)
	if l.due = l.due[n:]; len(l.due) == 0 {
		l.due = nil
	}
	return turn
}

// work has sockets enter, a few at a time, and tries again what failed.
func (l *Logs) work(ctx context.Context) error {
	return turns.Work(ctx, l.pop, l.attempt)
}

func (l *Logs) attempt(ctx context.Context, e *entry) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	err := l.enter(ctx, e)
	switch {
	case err == nil:
		l.failing.Over(ctx)
	case errors.Is(err, replay.ErrBroken), e.client.Gone(), isOlder(err):
		l.abort(e)
	default:
		l.failing.Failed(ctx, err)
		e.at = time.Now().Add(retry)
		l.push(e)
	}
}

// isOlder tells whether chat-service is of a release that keeps no logs.
func isOlder(err error) bool {
	code := status.Code(err)
	return code == codes.Unimplemented || code == codes.InvalidArgument
}

// enter has a socket enter its log, or finds that there is nothing in it for the socket.
func (l *Logs) enter(ctx context.Context, e *entry) error {
	if !e.listed {
		after, floor, something, err := l.from(ctx, e)
		if err != nil {
			return err
		}
		if !e.begun {
			if !something {
				return nil // Heard has it enter when something comes
			}
			if _, _, ok := l.begin(e); !ok {
				return nil
			}
		}
		if e.after = floor; !l.list(e) {
			return nil
		}
		e.after = after
	}
	for {
		head, _, err := l.replay.Room(ctx, e.socket, e.roomID, e.index, e.after)
		if e.after = head; err != nil {
			return err
		}
		if l.complete(e) {
			return nil
		}
	}
}

// from tells behind which sequence the log is to be read for the socket, what of it the socket has certainly seen, and whether there is
// something by now.
func (l *Logs) from(ctx context.Context, e *entry) (after, floor uint64, something bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	start := e.client.LogStart()
	request := &chatv1.ReadRoomEventsRequest{RoomId: e.roomID, Limit: 1}
	if start.Seq >= 0 {
		request.AfterSeq = uint64(start.Seq)
	} else {
		request.StoredAfter = timestamppb.New(time.UnixMilli(start.Since))
	}
	res, err := l.deps.Chat.ReadRoomEvents(ctx, request)
	if err != nil {
		return 0, 0, false, fmt.Errorf("read the log of a user: %w", err)
	}
	something = len(res.GetEvents()) > 0
	if start.Seq >= 0 {
		after = uint64(start.Seq)
		return after, min(after, res.GetHead()), something, nil // a client may say more than there is
	}
	if after = res.GetHead(); something {
		after = res.GetEvents()[0].GetSeq() - 1
	}
	if e.heard > 0 {
		after = min(after, e.heard-1) // what came is delivered, whatever the clocks say
	}
	return after, after, something, nil
}

// compare asks from time to time whose logs have grown, and has those who live here catch up.
func (l *Logs) compare(ctx context.Context) error {
	ticker := time.NewTicker(l.deps.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-l.now:
		}
		for more := true; more; {
			var err error
			if more, err = l.comparePage(ctx); err != nil {
				l.deps.Log.DebugContext(ctx, "logs of users not compared", slog.Any("error", err))
			}
		}
	}
}

func (l *Logs) comparePage(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	res, err := l.deps.Chat.ListLogHeads(ctx, &chatv1.ListLogHeadsRequest{Since: timestamppb.New(l.since)})
	if err != nil {
		return false, err
	}
	for user, head := range res.GetHeads() {
		l.grown(user, head)
	}
	if t := res.GetUntil(); t != nil {
		l.since = t.AsTime()
	}
	return res.GetMore(), nil
}

// grown has the sockets of a user here catch up with a log that is known to stand at a sequence.
func (l *Logs) grown(userID string, head uint64) {
	roomID := limits.UserLog(userID)
	missed := false
	for _, s := range l.deps.Registry.User(userID) {
		if c, ok := s.State.(Client); !ok || !c.InRoom(roomID) {
			l.Look(s)
			missed = missed || ok
		} else if last, started := l.deps.Hub.Last(roomID); started && last < head {
			l.deps.Repair(roomID, head)
			missed = true
		}
	}
	if missed && l.deps.Missed != nil {
		l.deps.Missed(userID)
	}
}
