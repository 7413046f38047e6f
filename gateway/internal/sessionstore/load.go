package sessionstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

var (
	// ErrNoState tells that there is nothing to recover.
	ErrNoState = errors.New("no state to recover")
	// ErrOldState tells that a later state of the socket was lost: its rooms were others in the end.
	ErrOldState = fmt.Errorf("%w: a later state was not stored", ErrNoState)
	// ErrChanged tells that the state is not of the revision any more that was read.
	ErrChanged = errors.New("the socket's state changed")
	// ErrForeign tells that the socket is not the client's own.
	ErrForeign = errors.New("the socket is not the client's")

	errNoBucket = fmt.Errorf("%w: there is no bucket yet", ErrNoState)
)

// Takeover ends a gateway's own connection of a socket that came back elsewhere, and calls done when it is gone.
type Takeover func(pid string, done func())

// takeoverTimeout is how long the gateway of the old connection has to end it.
const takeoverTimeout = time.Second

// Loaded is the state of a socket that can be recovered.
type Loaded struct {
	State    *enginev1.SessionState
	Revision uint64    // of the state, for Adopt
	EndedAt  time.Time // when the old connection ended, as far as anybody knows
}

// Load reads the state of a socket, makes sure that its old connection is gone, and checks that it ended within the window. own
// tells whether the socket is the client's; of a foreign one no connection is ended. takeover ends the old connection where it is
// this gateway's own.
func (s *Store) Load(ctx context.Context, pid string, own func(*enginev1.SessionState) bool, takeover Takeover) (Loaded, error) {
	kv := s.bucket()
	if kv == nil {
		return Loaded{}, errNoBucket
	}
	if s.removal.has(pid) { // the bucket may not know yet
		return Loaded{}, fmt.Errorf("%w: it left", ErrNoState)
	}
	entry, err := kv.Get(ctx, subject.SessionState(pid))
	if err != nil {
		return Loaded{}, fmt.Errorf("%w: %w", ErrNoState, err)
	}
	state := new(enginev1.SessionState)
	if err := proto.Unmarshal(entry.Value(), state); err != nil {
		return Loaded{}, fmt.Errorf("decode session state: %w", err)
	}
	if !own(state) {
		return Loaded{}, ErrForeign
	}
	endedAt, known, err := writtenEnd(ctx, kv, pid, state)
	if err != nil {
		return Loaded{}, err
	}
	if !known {
		if !own(state) { // the client has gone while the bucket was asked: its connection elsewhere is not the old one
			return Loaded{}, ErrForeign
		}
		if endedAt, err = s.endOld(ctx, kv, pid, state, takeover); err != nil {
			return Loaded{}, err
		}
	}
	if gone := time.Since(endedAt); gone > s.cfg.Window {
		return Loaded{}, fmt.Errorf("%w: gone for %s", ErrNoState, gone.Round(time.Second))
	}
	return Loaded{State: state, Revision: entry.Revision(), EndedAt: endedAt}, nil
}

// writtenEnd reads when the old connection ended, if its gateway wrote it down.
func writtenEnd(ctx context.Context, kv jetstream.KeyValue, pid string, state *enginev1.SessionState) (at time.Time, known bool, err error) {
	entry, err := kv.Get(ctx, subject.SessionEnd(pid))
	if err != nil {
		return time.Time{}, false, ctx.Err()
	}
	var end enginev1.SessionEnd
	switch err := proto.Unmarshal(entry.Value(), &end); {
	case err != nil || end.GetNonce() != state.GetNonce():
		return time.Time{}, false, ctx.Err()
	case end.GetFinal():
		return time.Time{}, false, fmt.Errorf("%w: it left", ErrNoState)
	case end.GetGeneration() > state.GetGeneration():
		return time.Time{}, false, ErrOldState
	}
	return end.GetAt().AsTime(), true, nil
}

// endOld has the gateway of the old connection end it. When that gateway does not answer, its last sign of life is the end.
func (s *Store) endOld(
	ctx context.Context, kv jetstream.KeyValue, pid string, state *enginev1.SessionState, takeover Takeover,
) (time.Time, error) {
	if s.takeOver(ctx, pid, state, takeover) {
		return time.Now(), nil
	}
	entry, err := kv.Get(ctx, subject.GatewayAlive(state.GetGatewayId(), state.GetIncarnation()))
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: its gateway is long gone: %w", ErrNoState, err)
	}
	return entry.Created(), nil
}

func (s *Store) takeOver(ctx context.Context, pid string, state *enginev1.SessionState, takeover Takeover) bool {
	if state.GetGatewayId() == s.cfg.GatewayID {
		if state.GetIncarnation() != s.cfg.Incarnation {
			return false
		}
		done := make(chan struct{})
		takeover(pid, func() { close(done) })
		<-done // the gateway bounds it
		return true
	}
	raw, err := proto.Marshal(&enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Takeover{Takeover: &enginev1.Takeover{Pid: pid}}})
	if err != nil {
		return false
	}
	call, cancel := context.WithTimeout(ctx, takeoverTimeout)
	defer cancel()
	_, err = s.nc.RequestWithContext(call, subject.Engine(state.GetGatewayId()), raw)
	return err == nil
}
