package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/transport"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// recovery keeps what another gateway needs to carry a socket on, in a KV bucket of JetStream:
//
//	s.<pid>   SessionState: who it is, its rooms, which gateway has it     on connect, join, leave, recovery
//	c.<pid>   SessionEnd: when its connection ended                        when the gateway saw it end
//	g.<gateway>.<incarnation>   still alive                                every few seconds
//
// A gateway that was killed writes no SessionEnd; then its last sign of life counts. The bucket is no record: if it is
// lost, clients get an honest fresh session.
type recovery struct {
	relay *Relay
	kv    chan jetstream.KeyValue // holds the bucket once there is one

	mu       sync.Mutex           // guards what follows
	pids     map[string]*client   // who is held here
	adopting map[string][]*client // who is about to be
}

// wish is what a CONNECT says about recovery.
type wish struct {
	recovery bool   // the client can take offsets
	pid      string // of the socket it had
	offset   string // the last one that it got; "" = none
}

const (
	aliveInterval   = 5 * time.Second
	refreshInterval = 30 * time.Second // between looks for states that have to be written again
	bucketRetry     = time.Second
	kvTimeout       = 2 * time.Second
	takeoverTimeout = 500 * time.Millisecond
)

func newRecovery(r *Relay) *recovery {
	return &recovery{relay: r, kv: make(chan jetstream.KeyValue, 1), pids: make(map[string]*client), adopting: make(map[string][]*client)}
}

func (v *recovery) on() bool { return v.relay.cfg.RecoveryWindow > 0 }

// lifetime is how long the bucket keeps an entry; living sockets are written again in time.
func (v *recovery) lifetime() time.Duration { return 3*v.relay.cfg.RecoveryWindow + time.Minute }

// wishOf reads what a CONNECT's auth object says about recovery.
func wishOf(auth []byte) wish {
	w := wish{recovery: true}
	if raw, ok := socketio.Field(auth, "recovery"); ok && string(raw) == "false" {
		w.recovery = false
	}
	if raw, ok := socketio.Field(auth, "pid"); ok {
		w.pid, _ = socketio.Unquote(raw)
	}
	if raw, ok := socketio.Field(auth, "offset"); ok {
		w.offset, _ = socketio.Unquote(raw)
	}
	return w
}

// newPID makes a private id, by which alone a socket can be recovered.
func newPID() string { return session.NewID() + session.NewID() }

// run makes the bucket, tells that this gateway lives, and keeps the states of living sockets from expiring.
func (v *recovery) run(ctx context.Context) error {
	if !v.on() {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := v.openBucket(ctx); err != nil {
		return err
	}
	alive := time.NewTicker(aliveInterval)
	defer alive.Stop()
	refresh := time.NewTicker(refreshInterval)
	defer refresh.Stop()
	v.sayAlive()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-alive.C:
			v.sayAlive()
		case now := <-refresh.C:
			v.relay.registry.Each(func(s *session.Socket) {
				if c, ok := s.State.(*client); ok && c.savedBefore(now.Add(-v.lifetime()/3)) {
					v.save(c)
				}
			})
		}
	}
}

func (c *client) savedBefore(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.saved.Before(t)
}

func (v *recovery) openBucket(ctx context.Context) error {
	js, err := jetstream.New(v.relay.nc)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	for {
		call, cancel := context.WithTimeout(ctx, kvTimeout)
		kv, err := js.CreateOrUpdateKeyValue(call, jetstream.KeyValueConfig{
			Bucket: subject.SessionsBucket, Description: "sockets that can be recovered",
			TTL: v.lifetime(), Replicas: v.relay.cfg.RecoveryReplicas, MaxBytes: v.relay.cfg.RecoveryBytes,
		})
		cancel()
		if err == nil {
			v.kv <- kv
			return nil
		}
		v.relay.log.WarnContext(ctx, "no bucket for recovery yet", slog.Any("error", err))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(bucketRetry):
		}
	}
}

// bucket gives the bucket, nil while there is none.
func (v *recovery) bucket() jetstream.KeyValue {
	select {
	case kv := <-v.kv:
		v.kv <- kv
		return kv
	default:
		return nil
	}
}

func (v *recovery) sayAlive() {
	v.put(subject.GatewayAlive(v.relay.cfg.GatewayID, v.relay.cfg.Incarnation), nil)
}

// put writes a key without waiting: what is lost costs a recovery, not a message.
func (v *recovery) put(key string, value []byte) {
	if err := v.relay.nc.Publish(subject.SessionsKey(key), value); err != nil {
		v.relay.log.Debug("session state not written", slog.Any("error", err))
	}
}

// state describes a client for another gateway.
func (v *recovery) state(c *client) *enginev1.SessionState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return v.stateLocked(c, c.rooms)
}

// stateLocked describes a client that is in the given rooms; c.mu is held.
func (v *recovery) stateLocked(c *client, rooms []clientRoom) *enginev1.SessionState {
	st := &enginev1.SessionState{
		SocketId: c.socket.ID, Namespace: c.socket.Namespace, UserId: c.socket.UserID,
		GatewayId: v.relay.cfg.GatewayID, Incarnation: v.relay.cfg.Incarnation, Nonce: c.nonce, Generation: c.generation,
	}
	c.saved = time.Now()
	for _, room := range rooms {
		st.Rooms = append(st.Rooms, &enginev1.SessionRoom{Index: room.index, RoomId: room.id, Seq: room.seq})
	}
	return st
}

// save writes the state of a client that can be recovered. One that is gone may live on elsewhere: its state is not ours.
func (v *recovery) save(c *client) {
	if c.pid == "" || !v.on() || !v.hold(c) {
		return
	}
	raw, err := proto.Marshal(v.state(c))
	if err != nil {
		v.relay.log.Error("session state cannot be encoded", slog.Any("error", err))
		return
	}
	v.put(subject.SessionState(c.pid), raw)
}

// hold notes a living client by its pid.
func (v *recovery) hold(c *client) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone {
		v.pids[c.pid] = c
	}
	return !c.gone
}

// ended notes how a socket ended. A client or server that left the namespace meant it; every other end may be recovered.
func (v *recovery) ended(c *client, reason transport.Reason) {
	if c.pid == "" || !v.on() {
		return
	}
	v.mu.Lock()
	if v.pids[c.pid] == c {
		delete(v.pids, c.pid)
	}
	v.mu.Unlock()
	if reason == transport.ReasonReplaced {
		return // the new gateway's state counts
	}
	c.mu.Lock()
	generation := c.generation
	c.mu.Unlock()
	raw, err := proto.Marshal(&enginev1.SessionEnd{
		Nonce: c.nonce, At: timestamppb.Now(), Generation: generation,
		Final: reason == transport.ReasonLeft || reason == transport.ReasonServer,
	})
	if err != nil {
		v.relay.log.Error("session end cannot be encoded", slog.Any("error", err))
		return
	}
	v.put(subject.SessionEnd(c.pid), raw)
}

// takenOver ends the socket of a client that came back elsewhere while this gateway still held its old connection, and calls
// done when everything here knows.
func (v *recovery) takenOver(pid string, done func()) {
	v.mu.Lock()
	holders := slices.Clone(v.adopting[pid])
	if c := v.pids[pid]; c != nil {
		holders = append(holders, c)
	}
	v.mu.Unlock()
	if len(holders) == 0 {
		done()
		return
	}
	for _, c := range holders {
		c.socket.Close(transport.CodeNormal, transport.ReasonReplaced)
	}
	v.relay.tasks.Go(func() {
		timer := time.NewTimer(takeoverTimeout)
		defer timer.Stop()
		for _, c := range holders {
			select {
			case <-c.ended:
			case <-timer.C:
				done()
				return
			}
		}
		done()
	})
}

// errNoState tells that a socket cannot be recovered.
var errNoState = errors.New("no state to recover")

// errOldState tells that a later state of the socket was lost: its rooms were others in the end.
var errOldState = fmt.Errorf("%w: a later state was not stored", errNoState)

// errForeign tells that the socket belongs to another user or namespace.
var errForeign = errors.New("the socket is not the client's")

// load reads the state of a socket and checks that its connection ended, or ends, within the window. It makes sure that
// the old connection is gone, if the socket is the client's own.
func (v *recovery) load(ctx context.Context, pid string, own func(*enginev1.SessionState) bool) (st *enginev1.SessionState, revision uint64, endedAt time.Time, err error) {
	kv := v.bucket()
	if kv == nil {
		return nil, 0, time.Time{}, errNoState
	}
	entry, err := kv.Get(ctx, subject.SessionState(pid))
	if err != nil {
		return nil, 0, time.Time{}, fmt.Errorf("%w: %w", errNoState, err)
	}
	st = new(enginev1.SessionState)
	if err := proto.Unmarshal(entry.Value(), st); err != nil {
		return nil, 0, time.Time{}, fmt.Errorf("decode session state: %w", err)
	}
	if !own(st) {
		return nil, 0, time.Time{}, errForeign
	}
	endedAt, err = v.endedAt(ctx, kv, pid, st, own)
	if err != nil {
		return nil, 0, time.Time{}, err
	}
	if gone := time.Since(endedAt); gone > v.relay.cfg.RecoveryWindow {
		return nil, 0, time.Time{}, fmt.Errorf("%w: gone for %s", errNoState, gone.Round(time.Second))
	}
	return st, entry.Revision(), endedAt, nil
}

func (v *recovery) endedAt(
	ctx context.Context, kv jetstream.KeyValue, pid string, st *enginev1.SessionState, own func(*enginev1.SessionState) bool,
) (time.Time, error) {
	if entry, err := kv.Get(ctx, subject.SessionEnd(pid)); err == nil {
		var end enginev1.SessionEnd
		if err := proto.Unmarshal(entry.Value(), &end); err == nil && end.GetNonce() == st.GetNonce() {
			if end.GetFinal() {
				return time.Time{}, fmt.Errorf("%w: it left", errNoState)
			}
			if end.GetGeneration() > st.GetGeneration() {
				return time.Time{}, errOldState
			}
			return end.GetAt().AsTime(), nil
		}
	}
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	if !own(st) { // the client has gone while the bucket was asked: its connection elsewhere is not the old one
		return time.Time{}, errForeign
	}
	if v.endOld(ctx, pid, st) {
		return time.Now(), nil
	}
	entry, err := kv.Get(ctx, subject.GatewayAlive(st.GetGatewayId(), st.GetIncarnation()))
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: its gateway is long gone: %w", errNoState, err)
	}
	return entry.Created(), nil
}

// endOld has the gateway of the old connection end it; it reports false when that gateway does not answer.
func (v *recovery) endOld(ctx context.Context, pid string, st *enginev1.SessionState) bool {
	if st.GetGatewayId() == v.relay.cfg.GatewayID {
		if st.GetIncarnation() != v.relay.cfg.Incarnation {
			return false
		}
		done := make(chan struct{})
		v.takenOver(pid, func() { close(done) })
		<-done
		return true
	}
	raw, err := proto.Marshal(&enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Takeover{Takeover: &enginev1.Takeover{Pid: pid}}})
	if err != nil {
		return false
	}
	call, cancel := context.WithTimeout(ctx, 2*takeoverTimeout)
	defer cancel()
	_, err = v.relay.nc.RequestWithContext(call, subject.Engine(st.GetGatewayId()), raw)
	return err == nil
}

// adopt makes the socket, with the rooms that it is to enter again, this gateway's; it fails when another gateway was faster.
func (v *recovery) adopt(ctx context.Context, c *client, rooms []clientRoom, revision uint64) error {
	kv := v.bucket()
	if kv == nil {
		return errNoState
	}
	c.mu.Lock()
	st := v.stateLocked(c, rooms)
	c.mu.Unlock()
	raw, err := proto.Marshal(st)
	if err != nil {
		return fmt.Errorf("encode session state: %w", err)
	}
	// Once the state names this gateway another one may ask it to let go: it has to know by then.
	v.mu.Lock()
	v.adopting[c.pid] = append(v.adopting[c.pid], c)
	v.mu.Unlock()
	defer v.adopted(c)
	if _, err := kv.Update(ctx, subject.SessionState(c.pid), raw, revision); err != nil {
		return fmt.Errorf("adopt a socket: %w", err)
	}
	v.hold(c)
	return nil
}

func (v *recovery) adopted(c *client) {
	v.mu.Lock()
	defer v.mu.Unlock()
	rest := slices.DeleteFunc(v.adopting[c.pid], func(other *client) bool { return other == c })
	if len(rest) == 0 {
		delete(v.adopting, c.pid)
		return
	}
	v.adopting[c.pid] = rest
}
