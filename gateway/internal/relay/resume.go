package relay

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/starling-chat/starling/gateway/internal/connectauth"
	"github.com/starling-chat/starling/gateway/internal/revocations"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/sessionstore"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/gateway/internal/userlog"
	"github.com/starling-chat/starling/proto/fault"
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

// newPID makes a private id, by which alone a socket can be recovered.
func newPID() string { return session.NewID() + session.NewID() }

const (
	replayTimeout = 60 * time.Second
	askTimeout    = 5 * time.Second // until it is clear whether there is something to recover
	adoptAttempts = 5               // a gateway writes a state once more at most, unless its client goes on joining rooms
	clockSkew     = 2 * time.Second // of gateways and chat-service, before a notification is overlooked
)

// errStale tells that the socket missed something that cannot be replayed.
var errStale = errors.New("missed what cannot be replayed")

// errNotAdmitted tells that nobody waits for the socket any more: the session ended, or its client left the namespace.
var errNotAdmitted = errors.New("nobody waits for the socket")

// resumption is a socket on its way back from an earlier connection.
type resumption struct {
	relay    *Relay
	session  *session.Session
	client   *client
	rooms    []clientRoom // with the sequence from which each is to be replayed
	endedAt  time.Time    // when the earlier connection ended
	revision uint64       // of the state in the bus
	holder   string       // nonce of the gateway's hold on the socket that the state tells of
}

// resume carries a socket on where it was: the same id, the same rooms, the missed events before the CONNECT reply. It
// works as a join of all rooms at once, with what was missed in place of the history:
//
//	hub.BeginJoin, Acquire   live events are buffered from here on
//	replay                   from the client's offset (or where it entered) to each room's head
//	Admit                    the CONNECT reply, with the same pid
//	hub.CompleteJoin         what was buffered
func (r *Relay) resume(s *session.Session, namespace string, identity *eventv1.Identity, request connectauth.Auth) outcome {
	if request.PID == "" {
		return fresh
	}
	ctx, cancel := context.WithTimeout(r.ctx, replayTimeout)
	defer cancel()
	// A client does not wait for long. One that has gone is back by then, perhaps recovered: what was begun for it must not
	// end its new connection.
	asking, cancelAsking := context.WithTimeout(ctx, askTimeout)
	defer cancelAsking()
	old, why, err := r.findAndAdopt(asking, s, namespace, identity, request)
	switch why {
	case "":
	case sessionEnded:
		return lost
	default:
		return r.notRecovered(why, err)
	}
	ctx, done := r.revocations.While(ctx, identity.GetUserId(), old.client)
	defer done()
	switch err := old.carryOn(ctx); {
	case errors.Is(context.Cause(ctx), revocations.ErrRevoked):
		r.stats.Recoveries.WithLabelValues("broken").Inc()
		r.refuseConnect(s, namespace, fault.Refusal(fault.ReasonToken, nil)) // unless it is admitted: then it was disconnected
		return lost
	case errors.Is(err, errNotAdmitted):
		r.stats.Recoveries.WithLabelValues("broken").Inc()
		return lost
	case err != nil:
		r.log.Warn("recovery broken off", slog.Any("error", err))
		r.stats.Recoveries.WithLabelValues("broken").Inc()
		s.Close(transport.CodeTryAgainLater, transport.ReasonOverload)
		return lost
	}
	r.stats.Recoveries.WithLabelValues("ok").Inc()
	return recovered
}

// sessionEnded is why nothing is recovered for a session that ended meanwhile; the other reasons are labels of a metric.
const sessionEnded = "ended"

// findAndAdopt finds the client's earlier socket and makes it this gateway's. The gateway that had it may write its state once
// more in between: then it is read again. When somebody else has it by then, that one was faster, and keeps it.
func (r *Relay) findAndAdopt(
	ctx context.Context, s *session.Session, namespace string, identity *eventv1.Identity, request connectauth.Auth,
) (old *resumption, why string, err error) {
	holder := "" // the nonce of the hold on that socket, once it was read; nobody else's is taken over
	for range adoptAttempts {
		if old, why, err = r.findOld(ctx, s, namespace, identity, request, holder); why != "" {
			return old, why, err
		}
		if err = r.adopt(ctx, old.client, old.rooms, old.revision); !errors.Is(err, sessionstore.ErrChanged) {
			break
		}
		holder = old.holder
	}
	if err != nil {
		why = "conflict"
	}
	return old, why, err
}

// findOld finds the client's earlier socket and checks that it can be carried on; why tells why not.
func (r *Relay) findOld(
	ctx context.Context, s *session.Session, namespace string, identity *eventv1.Identity, request connectauth.Auth, holder string,
) (old *resumption, why string, err error) {
	seqs, generation, ok := request.Seen()
	if !ok {
		return nil, "offset", nil
	}
	faster := false
	loaded, err := r.store.Load(ctx, request.PID, func(st *enginev1.SessionState) bool {
		faster = holder != "" && st.GetNonce() != holder
		return st.GetUserId() == identity.GetUserId() && st.GetNamespace() == namespace && !s.Ended() && !faster
	}, r.Takeover)
	switch {
	case s.Ended():
		return nil, sessionEnded, nil
	case faster:
		return nil, "conflict", sessionstore.ErrChanged
	case errors.Is(err, sessionstore.ErrForeign):
		return nil, "foreign", nil
	case err != nil:
		return nil, "state", err
	case generation > loaded.State.GetGeneration():
		return nil, "state", sessionstore.ErrOldState
	}
	st := loaded.State
	since := loaded.EndedAt.Add(-r.cfg.Recovery.PongWithin - clockSkew) // if a gateway of an older release wrote the state
	if t := st.GetSince(); t != nil {
		since = t.AsTime()
	}
	start := userlog.Start{Seq: request.Useq, Since: since.UnixMilli(), Old: true}
	c, err := newClient(r, s, namespace, identity, st.GetSocketId(), request.PID, start)
	if err != nil {
		return nil, "internal", err
	}
	c.inbox = request.Inbox
	for index := range seqs {
		c.socket.Offsets.Reserve(index)
	}
	c.generation = st.GetGeneration()
	c.socket.Offsets.SetGeneration(c.generation)
	old = &resumption{
		relay: r, session: s, client: c, rooms: resumeFrom(st, seqs), endedAt: loaded.EndedAt, revision: loaded.Revision,
		holder: st.GetNonce(),
	}
	why, err = old.check(ctx)
	return old, why, err
}

// check tells why what the client missed cannot be replayed; "" = it can.
func (p *resumption) check(ctx context.Context) (why string, err error) {
	if !namespaces.HasRooms(p.client.socket.Namespace) {
		if missed, err := p.missedNotifications(ctx); err != nil || missed {
			return "missed", err
		}
	}
	missed, left, err := p.missed(ctx)
	switch {
	case errors.Is(err, errAhead):
		return "offset", nil
	case err != nil || missed > uint64(p.relay.cfg.Recovery.MaxEvents): //nolint:gosec // a setting above 0
		return "too_much", err
	}
	if err := p.dropForged(ctx, left); err != nil {
		return "state", err
	}
	return "", nil
}

// dropForged drops of the rooms that the user has left those in which the client says to have seen more than the event that took it out: all
// that it has not seen there happened without it.
func (p *resumption) dropForged(ctx context.Context, left []string) error {
	var failed error
	p.rooms = slices.DeleteFunc(p.rooms, func(room clientRoom) bool {
		if failed != nil || !slices.Contains(left, room.id) {
			return false
		}
		ends, err := p.relay.replay.Evicts(ctx, room.id, room.seq, p.client.socket.UserID)
		failed = err
		return !ends
	})
	return failed
}

// notRecovered counts and logs why a socket is not recovered; its client gets a fresh one.
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

// missed counts what is to be replayed: a client that missed very much is better served with a history. Rooms that were opened by a
// token, and by this one are not, are dropped before anything of them is read. left are the rooms in which the user is no member any more.
func (p *resumption) missed(ctx context.Context) (missed uint64, left []string, err error) {
	res, err := p.heads(ctx, p.rooms, false)
	if err != nil {
		return 0, nil, err
	}
	p.rooms = slices.DeleteFunc(p.rooms, func(room clientRoom) bool { return slices.Contains(res.GetClosedRoomIds(), room.id) })
	for _, room := range p.rooms {
		head := res.GetHeads()[room.id]
		if room.seq > head {
			return 0, nil, errAhead
		}
		missed += head - room.seq
	}
	return missed, res.GetLeftRoomIds(), nil
}

// stillMember drops the rooms that the user does not belong to: it may have been taken out behind what was replayed. A membership that ends from
// now on is noticed by the joining socket.
func (p *resumption) stillMember(ctx context.Context, rooms []clientRoom) ([]clientRoom, error) {
	res, err := p.heads(ctx, rooms, true)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(rooms, func(room clientRoom) bool {
		_, member := res.GetHeads()[room.id]
		if !member {
			p.relay.dropRoom(p.client, room.id)
		}
		return !member
	}), nil
}

// heads asks where rooms stand: all of them, or only those that the user is a member of.
func (p *resumption) heads(ctx context.Context, rooms []clientRoom, asMember bool) (*chatv1.GetHeadsResponse, error) {
	identity, err := p.client.identityNow()
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(rooms))
	for i, room := range rooms {
		ids[i] = room.id
	}
	return p.relay.replay.Heads(ctx, ids, identity, asMember)
}

// missedNotifications tells whether the user was sent notifications since the connection ended. They are no part of a room's
// log, and cannot be replayed: a socket on /notifications that missed some is honestly a fresh one.
func (p *resumption) missedNotifications(ctx context.Context) (bool, error) {
	// What was sent since the client's last pong may have gone into a connection that was dead already.
	return p.relay.replay.NotifiedSince(ctx, p.client.socket.UserID, p.endedAt.Add(-p.relay.cfg.Recovery.PongWithin-clockSkew))
}
