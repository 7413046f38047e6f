package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/turns"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
)

const (
	askTimeout = 5 * time.Second
	retry      = 300 * time.Millisecond // after a failure
	pause      = 100 * time.Millisecond // between two questions for a socket whose rooms change and change
	mendAfter  = 2 * time.Second        // until a socket that could not take an activity is sent its state again
)

// work fills inboxes, a few at a time, and tries again what failed.
func (b *Inbox) work(ctx context.Context) error {
	return turns.Work(ctx, b.pop, b.attempt)
}

// pop gives up to limit sockets whose turn it is.
func (b *Inbox) pop(now time.Time, limit int) (turn []*member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost || now.Before(b.rest) {
		return nil
	}
	var rest []*member
	for i, m := range b.due {
		if len(turn) == limit {
			rest = append(rest, b.due[i:]...)
			break
		}
		switch {
		case m.ended:
		case now.Before(m.at):
			rest = append(rest, m)
		default:
			turn = append(turn, m)
		}
	}
	b.due = rest
	return turn
}

// attempt fills one inbox, and sees to what comes of it.
func (b *Inbox) attempt(ctx context.Context, m *member) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := b.fill(ctx, m)
	if err == nil {
		b.failing.Over(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case m.ended:
	case isOlder(err): // chat-service is of a release that knows no inbox
		b.end(m)
	case err != nil:
		if !errors.Is(ctx.Err(), context.Canceled) {
			b.failing.Failed(ctx, err)
		}
		if code := status.Code(err); code == codes.Unavailable || code == codes.DeadlineExceeded { // the others would find the same
			b.rest = time.Now().Add(retry)
		}
		b.later(m, retry)
	case m.again:
		b.later(m, pause)
	default:
		m.queued = false
	}
}

// later has a socket asked for again after a while; Inbox.mu is held.
func (b *Inbox) later(m *member, wait time.Duration) {
	m.again, m.at = false, time.Now().Add(wait)
	b.due = append(b.due, m)
}

// mend has a socket that has missed something get its state again, when it has had time to take what waits for it; Inbox.mu is held.
func (b *Inbox) mend(m *member) {
	m.told = false
	if m.queued { // perhaps without asking for the state
		m.again = true
		return
	}
	m.queued = true
	b.later(m, mendAfter)
}

func isOlder(err error) bool { return status.Code(err) == codes.Unimplemented }

// question is what a socket is asked for with.
type question struct {
	request *chatv1.ListInboxRequest
	epoch   uint32
}

// question gives what a socket is to be asked for with by now.
func (b *Inbox) question(m *member, state bool) question {
	b.mu.Lock()
	q := question{epoch: m.epoch, request: &chatv1.ListInboxRequest{
		UserId: m.socket.UserID, Limit: uint32(b.cfg.Rooms), State: state && !m.told, //nolint:gosec // at most 200
	}}
	b.mu.Unlock()
	q.request.Grants = m.client.Opens()
	return q
}

// fill asks for the rooms of a socket, tells it inbox:state if it has not got it, and has the rooms be of interest here. Then it
// looks for what happened between the two.
func (b *Inbox) fill(ctx context.Context, m *member) error {
	if time.Since(time.UnixMilli(b.wanted.Load())) > wantEvery {
		b.want(time.Now())
	}
	q := b.question(m, true)
	res, err := b.service.ListInbox(ctx, q.request)
	if err != nil {
		return err
	}
	check, current, err := b.filled(m, q, res)
	if err != nil || !current || len(check) == 0 {
		return err
	}
	if err := b.nc.FlushWithContext(ctx); err != nil { // the subscriptions hold from here on
		return b.unfilled(m, fmt.Errorf("subscribe to activity: %w", err))
	}
	behind, err := b.behind(ctx, check)
	if err != nil {
		return b.unfilled(m, err)
	}
	if len(behind) == 0 {
		return nil
	}
	return b.catchUp(ctx, m, behind)
}

// behind gives those of some rooms that stand behind what is known of them.
func (b *Inbox) behind(ctx context.Context, known map[string]uint64) (map[string]uint64, error) {
	request := &chatv1.GetHeadsRequest{RoomIds: slices.Collect(maps.Keys(known))}
	res, err := b.service.GetHeads(ctx, request)
	if err != nil {
		return nil, err
	}
	behind := map[string]uint64{}
	for id, seq := range known {
		if res.GetHeads()[id] > seq {
			behind[id] = seq
		}
	}
	return behind, nil
}

// filled takes in what chat-service says of a socket's rooms. It gives those that may have gone on since without the socket being told, with
// what it knows of them. current is false when what was said is old by now, or the socket has ended.
func (b *Inbox) filled(m *member, q question, res *chatv1.ListInboxResponse) (check map[string]uint64, current bool, err error) {
	ids := make([]string, len(res.GetRooms()))
	for i, r := range res.GetRooms() {
		ids[i] = r.GetRoomId()
	}
	defer m.socket.Flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.ended || m.epoch != q.epoch || b.lost {
		return nil, false, nil
	}
	state := q.request.GetState()
	if state {
		b.queue(m.socket, session.Emit{Namespace: m.socket.Namespace, Event: inboxState, Args: res.GetState()})
		m.told = true
	}
	added, err := b.setRooms(m, ids)
	if err != nil {
		m.told = false
		return nil, true, fmt.Errorf("subscribe to activity: %w", err)
	}
	check = map[string]uint64{}
	for _, r := range res.GetRooms() {
		if isNew := added[r.GetRoomId()]; isNew || state {
			check[r.GetRoomId()] = r.GetSeq()
			if isNew && !state {
				b.activity(m, r)
			}
		}
	}
	return check, true, nil
}

// unfilled has a socket get its state again: something may be missing from what it knows.
func (b *Inbox) unfilled(m *member, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.told = false
	return err
}

// catchUp tells a socket how the rooms stand that have gone on since it was told; behind has what it knows of them.
func (b *Inbox) catchUp(ctx context.Context, m *member, behind map[string]uint64) error {
	q := b.question(m, false)
	res, err := b.service.ListInbox(ctx, q.request)
	if err != nil {
		return b.unfilled(m, err)
	}
	defer m.socket.Flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.ended || m.epoch != q.epoch || b.lost {
		m.told = false
		return nil
	}
	for _, r := range res.GetRooms() {
		if seq, asked := behind[r.GetRoomId()]; asked && r.GetSeq() > seq {
			b.activity(m, r)
		}
	}
	return nil
}

// activity queues to one socket how a room stands, unless it has joined it, or nothing was said there; Inbox.mu is held.
func (b *Inbox) activity(m *member, r *chatv1.InboxRoom) {
	if len(r.GetActivity()) > 0 && !m.client.InRoom(r.GetRoomId()) {
		b.queue(m.socket, session.Emit{Namespace: m.socket.Namespace, Event: roomActivity, Args: r.GetActivity()})
	}
}

// queue queues an event to one socket; Inbox.mu is held.
func (b *Inbox) queue(s *session.Socket, e session.Emit) {
	m, err := e.Encode()
	if err != nil {
		b.failing.Log.Error("event cannot be encoded", slog.Any("error", err))
		return
	}
	if s.Append(m) {
		b.stats.EventsOut.Inc()
	}
}

// What sockets with an inbox are told.
const (
	inboxState   = "inbox:state"
	roomActivity = "room:activity"
)
