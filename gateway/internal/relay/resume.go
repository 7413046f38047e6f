package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/replay"
	"github.com/starling-chat/starling/gateway/internal/roomfeed"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/sessionstore"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/rawjson"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/namespaces"
)

// outcome is how an attempt to recover a socket ended.
type outcome int

const (
	fresh     outcome = iota // there is nothing to recover: a new socket
	recovered                // done
	lost                     // the session ended meanwhile, or was ended so that the client tries again
)

// resumeRequest is what a CONNECT says about recovery.
type resumeRequest struct {
	enabled bool   // the client can take offsets
	pid     string // of the socket it had
	offset  string // the last one that it got; "" = none
}

// resumeRequestOf reads what a CONNECT's auth object says about recovery.
func resumeRequestOf(auth []byte) resumeRequest {
	r := resumeRequest{enabled: true}
	if raw, ok := rawjson.Field(auth, "recovery"); ok && string(raw) == "false" {
		r.enabled = false
	}
	if raw, ok := rawjson.Field(auth, "pid"); ok {
		r.pid, _ = rawjson.Unquote(raw)
	}
	if raw, ok := rawjson.Field(auth, "offset"); ok {
		r.offset, _ = rawjson.Unquote(raw)
	}
	return r
}

// newPID makes a private id, by which alone a socket can be recovered.
func newPID() string { return session.NewID() + session.NewID() }

const (
	replayPage    = 1000
	replayTimeout = 60 * time.Second
	askTimeout    = 5 * time.Second // until it is clear whether there is something to recover
	// replayHigh and replayLow keep a long replay from overflowing the send queue.
	replayHigh = 64 << 10
	replayLow  = 16 << 10
	replayTick = 2 * time.Millisecond
)

// clockSkew is how far the clocks of gateways and chat-service may differ before a notification is overlooked.
const clockSkew = 2 * time.Second

// errStale tells that the socket missed something that cannot be replayed.
var errStale = errors.New("missed what cannot be replayed")

// errBroken tells that the session ended while its socket was recovered.
var errBroken = errors.New("the session ended")

// resume carries a socket on where it was: the same id, the same rooms, the missed events before the CONNECT reply. It
// works as a join of all rooms at once, with what was missed in place of the history:
//
//	hub.Begin, Acquire    live events are kept back from here on
//	replay                from the client's offset (or where it entered) to each room's head
//	Admit                 the CONNECT reply, with the same pid
//	hub.Complete          what was kept back
func (r *Relay) resume(s *session.Session, namespace string, identity *eventv1.Identity, request resumeRequest) outcome {
	if request.pid == "" {
		return fresh
	}
	ctx, cancel := context.WithTimeout(r.ctx, replayTimeout)
	defer cancel()
	seqs, ok := map[uint32]uint64(nil), true
	if request.offset != "" {
		seqs, ok = session.ParseOffset(request.offset)
	}
	if !ok {
		return r.notRecovered("offset", nil)
	}
	epoch, generation := session.SplitEpoch(seqs[0])
	if epoch != session.OffsetEpoch(request.pid) { // of an earlier socket: of this one the client has seen no event
		seqs, generation = nil, 0
	}
	// A client does not wait for long. One that has gone is back by then, perhaps recovered: what was begun for it must not
	// end its new connection.
	asking, cancelAsking := context.WithTimeout(ctx, askTimeout)
	defer cancelAsking()
	loaded, err := r.store.Load(asking, request.pid, func(st *enginev1.SessionState) bool {
		return st.GetUserId() == identity.GetUserId() && st.GetNamespace() == namespace && !s.Ended()
	})
	switch {
	case s.Ended():
		return lost
	case errors.Is(err, sessionstore.ErrForeign):
		return r.notRecovered("foreign", nil)
	case err != nil:
		return r.notRecovered("state", err)
	case generation > loaded.State.GetGeneration():
		return r.notRecovered("state", sessionstore.ErrOldState)
	}
	st := loaded.State
	c, err := newClient(r, s, namespace, identity, st.GetSocketId(), request.pid)
	if err != nil {
		return r.notRecovered("internal", err)
	}
	for index := range seqs {
		c.socket.Offsets.Reserve(index)
	}
	c.generation = st.GetGeneration()
	c.socket.Offsets.SetGeneration(c.generation)
	if !namespaces.HasRooms(namespace) {
		if missed, err := r.missedNotifications(asking, c, loaded.EndedAt); err != nil || missed {
			return r.notRecovered("missed", err)
		}
	}
	rooms := resumeFrom(st, seqs)
	if missed, err := r.missed(asking, rooms); err != nil || missed > uint64(r.cfg.RecoveryEvents) { //nolint:gosec // a setting above 0
		if errors.Is(err, errAhead) {
			return r.notRecovered("offset", nil)
		}
		return r.notRecovered("too_much", err)
	}
	if err := r.adopt(asking, c, rooms, loaded.Revision); err != nil {
		return r.notRecovered("conflict", err)
	}
	if err := r.carryOn(ctx, s, c, rooms, loaded.EndedAt); err != nil {
		r.log.Warn("recovery broken off", slog.Any("error", err))
		r.stats.Recoveries.WithLabelValues("broken").Inc()
		s.Close(transport.CodeTryAgainLater, transport.ReasonOverload)
		return lost
	}
	r.stats.Recoveries.WithLabelValues("ok").Inc()
	return recovered
}

func (r *Relay) notRecovered(why string, err error) outcome {
	r.stats.Recoveries.WithLabelValues(why).Inc()
	if err != nil && !errors.Is(err, sessionstore.ErrNoState) {
		r.log.Warn("socket not recovered", slog.String("why", why), slog.Any("error", err))
	}
	return fresh
}

// resumeFrom tells from where each room is to be replayed: the client's offset, or what it had seen when it entered.
func resumeFrom(st *enginev1.SessionState, seqs map[uint32]uint64) []clientRoom {
	rooms := make([]clientRoom, 0, len(st.GetRooms()))
	for _, room := range st.GetRooms() {
		rooms = append(rooms, clientRoom{
			id: room.GetRoomId(), index: room.GetIndex(), seq: max(room.GetSeq(), seqs[room.GetIndex()]),
		})
	}
	return rooms
}

// errAhead refuses an offset that is above a room's head: no socket was sent that, and it would pass for where the room
// stands.
var errAhead = errors.New("the offset is ahead of the room")

// missed counts what is to be replayed: a client that missed very much is better served with a history.
func (r *Relay) missed(ctx context.Context, rooms []clientRoom) (uint64, error) {
	heads, err := r.heads(ctx, rooms, "")
	if err != nil {
		return 0, err
	}
	missed := uint64(0)
	for _, room := range rooms {
		head := heads[room.id]
		if room.seq > head {
			return 0, errAhead
		}
		missed += head - room.seq
	}
	return missed, nil
}

// stillMember drops the rooms that the user does not belong to: what a client says that it has seen may reach beyond the event
// that ended its membership, which the replay then does not come across. A membership that ends from now on is noticed at
// the room's door.
func (r *Relay) stillMember(ctx context.Context, c *client, rooms []clientRoom) ([]clientRoom, error) {
	heads, err := r.heads(ctx, rooms, c.socket.UserID)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(rooms, func(room clientRoom) bool {
		_, member := heads[room.id]
		if !member {
			r.dropRoom(c, room.id)
		}
		return !member
	}), nil
}

// heads asks where rooms stand; with a user, only those that it is a member of.
func (r *Relay) heads(ctx context.Context, rooms []clientRoom, asUser string) (map[string]uint64, error) {
	if len(rooms) == 0 {
		return nil, nil
	}
	ids := make([]string, len(rooms))
	for i, room := range rooms {
		ids[i] = room.id
	}
	res, err := r.chat.GetHeads(ctx, &chatv1.GetHeadsRequest{RoomIds: ids, AsUserId: asUser})
	if err != nil {
		return nil, fmt.Errorf("ask for the heads of rooms: %w", err)
	}
	return res.GetHeads(), nil
}

// missedNotifications tells whether the user was sent notifications since the connection ended. They are no part of a room's
// log, and cannot be replayed: a socket on /notifications that missed some is honestly a fresh one.
func (r *Relay) missedNotifications(ctx context.Context, c *client, since time.Time) (bool, error) {
	res, err := r.chat.GetNotificationHead(ctx, &chatv1.GetNotificationHeadRequest{UserId: c.socket.UserID})
	if err != nil {
		return false, fmt.Errorf("ask for the last notification: %w", err)
	}
	at := res.GetCreatedAt()
	// What was sent since the client's last pong may have gone into a connection that was dead already.
	return at != nil && at.AsTime().After(since.Add(-r.cfg.PongWithin-clockSkew)), nil
}

func (r *Relay) carryOn(ctx context.Context, s *session.Session, c *client, rooms []clientRoom, endedAt time.Time) error {
	for _, room := range rooms {
		c.socket.Offsets.Set(room.index, room.seq)
		r.hub.Begin(c.socket, room.id, room.index)
		if err := r.rooms.Acquire(ctx, room.id); err != nil {
			r.hub.Abort(c.socket, room.id)
			r.abandon(c)
			return err
		}
		c.resumeRoom(room)
	}
	kept := rooms[:0]
	for _, room := range rooms {
		head, member, err := r.replay(ctx, s, c, room)
		if err != nil {
			r.abandon(c)
			return err
		}
		if !member {
			r.dropRoom(c, room.id)
			continue
		}
		room.seq = head // but not in the state: the client may never get what was just sent, and come again
		kept = append(kept, room)
	}
	kept, err := r.stillMember(ctx, c, kept)
	if err != nil {
		r.abandon(c)
		return err
	}
	if !s.Admit(c.socket, c.pid, func() { r.register(c.socket, c) }) {
		r.abandon(c)
		return errBroken
	}
	for _, room := range kept {
		if err := r.complete(ctx, s, c, room); err != nil {
			return err // the session is closed by the caller, and with it the rooms are left
		}
	}
	if namespace := c.socket.Namespace; !namespaces.HasRooms(namespace) {
		if missed, err := r.missedNotifications(ctx, c, endedAt); err != nil || missed {
			return errors.Join(errStale, err) // it came while the socket was carried on; the client comes back for a fresh one
		}
	}
	r.save(c)
	r.announce(c.socket, c)
	return nil
}

// complete lets the socket into one room; events that went by between the replay and now are replayed as well.
func (r *Relay) complete(ctx context.Context, s *session.Session, c *client, room clientRoom) error {
	for range joinAttempts {
		var dirty hub.Dirty
		if r.hub.Complete(c.socket, room.id, room.seq, nil, &dirty) {
			dirty.Flush()
			return nil
		}
		head, member, err := r.replay(ctx, s, c, room)
		if err != nil {
			return err
		}
		if !member {
			r.dropRoom(c, room.id)
			return nil
		}
		room.seq = head
	}
	return errors.New("the room is too busy to enter")
}

// dropRoom takes the socket out of a room that its user is no member of, also from its door.
func (r *Relay) dropRoom(c *client, roomID string) {
	r.hub.Leave(c.socket, roomID)
	if c.forgetRoom(roomID) {
		r.rooms.Release(roomID)
	}
}

// abandon undoes a recovery before the socket was admitted: nobody else will hear of its end.
func (r *Relay) abandon(c *client) {
	rooms, _ := c.end()
	for _, room := range rooms {
		r.hub.Abort(c.socket, room.id)
		r.rooms.Release(room.id)
	}
	r.saveEnd(c, transport.ReasonLost)
	close(c.ended)
}

// replay queues what a room's member missed, as fast as its conn takes it. It gives the sequence up to which it went, and
// whether the user is still a member.
func (r *Relay) replay(ctx context.Context, s *session.Session, c *client, room clientRoom) (head uint64, member bool, err error) {
	head = room.seq
	for {
		res, err := r.chat.ReadRoomEvents(ctx, &chatv1.ReadRoomEventsRequest{
			RoomId: room.id, AfterSeq: head, Limit: replayPage,
		})
		if err != nil {
			return head, true, fmt.Errorf("read missed events: %w", err)
		}
		for _, raw := range res.GetEvents() {
			e := roomfeed.Event(raw)
			head = e.Seq
			if err := r.replayOne(ctx, s, c, room, &e); err != nil {
				return head, true, err
			}
			if e.EvictUser == c.socket.UserID && e.EvictUser != "" {
				return head, false, nil
			}
		}
		if len(res.GetEvents()) == 0 || head >= res.GetHead() {
			c.socket.Flush()
			return head, true, nil
		}
	}
}

func (r *Relay) replayOne(ctx context.Context, s *session.Session, c *client, room clientRoom, e *replay.Event) error {
	if e.Name == "" || e.ExceptSocket == c.socket.ID {
		return nil
	}
	m, err := session.Emit{Namespace: c.socket.Namespace, Event: e.Name, Args: e.Args, Attachments: e.Attachments}.Encode()
	if err != nil {
		return fmt.Errorf("encode a missed event: %w", err)
	}
	if !c.socket.QueueDurable(m, room.index, e.Seq) {
		return errBroken
	}
	r.stats.EventsOut.Inc()
	if s.Conn().QueuedBytes() < replayHigh {
		return nil
	}
	c.socket.Flush()
	return awaitRoom(ctx, s.Conn())
}

// awaitRoom waits until the client has taken most of what is queued.
func awaitRoom(ctx context.Context, conn transport.Conn) error {
	ticker := time.NewTicker(replayTick)
	defer ticker.Stop()
	for conn.QueuedBytes() > replayLow {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}
