package sessionstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// Config says whose sockets the store keeps, for how long and where.
type Config struct {
	GatewayID   string
	Incarnation int64         // Unix nanoseconds of the gateway's start
	Window      time.Duration // after a connection ended in which its sockets can be recovered; 0 = the store is off
	Replicas    int           // of the bucket
	Bytes       int64         // of the bucket
}

// Store is the bucket of recoverable sockets, as one gateway uses it.
type Store struct {
	cfg     Config
	nc      *nats.Conn
	stats   *stats.Stats
	log     *slog.Logger
	kv      chan jetstream.KeyValue // holds the bucket once there is one
	answers string                  // where JetStream answers to writes
	removal removal

	// What is logged when it fails and goes on.
	writing, filling, removing obs.Repeats
}

const (
	aliveInterval = 5 * time.Second
	bucketRetry   = time.Second
	bucketTimeout = 2 * time.Second
)

// New makes a store; Run opens its bucket.
func New(cfg Config, nc *nats.Conn, st *stats.Stats, log *slog.Logger) *Store {
	return &Store{
		cfg: cfg, nc: nc, stats: st, log: log, kv: make(chan jetstream.KeyValue, 1), answers: nc.NewInbox(),
		writing:  obs.Repeats{Log: log, Message: "recovery state refused: sockets may not be recovered"},
		filling:  obs.Repeats{Log: log, Message: "bucket of recovery states is filling: raise RECOVERY_BYTES"},
		removing: obs.Repeats{Log: log, Message: "recovery states of sockets that left are not removed"},
	}
}

// On tells whether sockets can be recovered at all.
func (s *Store) On() bool { return s.cfg.Window > 0 }

// Lifetime is how long the bucket keeps a state: that of a living socket has to be saved again in time.
func (s *Store) Lifetime() time.Duration { return 3*s.cfg.Window + time.Minute }

// Run opens the bucket, removes what nobody needs any more, and tells every few seconds that this gateway lives.
func (s *Store) Run(ctx context.Context) error {
	if !s.On() {
		<-ctx.Done()
		return ctx.Err()
	}
	answers, err := s.watchWrites(ctx)
	if err != nil {
		return fmt.Errorf("subscribe the answers to writes: %w", err)
	}
	defer func() { _ = answers.Unsubscribe() }() // the connection is closed next
	js, err := jetstream.New(s.nc)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	kv, err := s.openBucket(ctx, js)
	if err != nil {
		return err
	}
	var g run.Group
	g.Go("removal", func(ctx context.Context) error { return s.removeLeft(ctx, kv, js) })
	g.Go("alive", func(ctx context.Context) error { return s.tellAlive(ctx, kv) })
	return g.Run(ctx)
}

func (s *Store) tellAlive(ctx context.Context, kv jetstream.KeyValue) error {
	alive := time.NewTicker(aliveInterval)
	defer alive.Stop()
	for {
		s.put(subject.GatewayAlive(s.cfg.GatewayID, s.cfg.Incarnation), nil)
		s.measure(ctx, kv)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-alive.C:
		}
	}
}

func (s *Store) openBucket(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, error) {
	missing := obs.Repeats{Log: s.log, Message: "no bucket for recovery yet"}
	for {
		call, cancel := context.WithTimeout(ctx, bucketTimeout)
		kv, err := js.CreateOrUpdateKeyValue(call, jetstream.KeyValueConfig{
			Bucket: subject.SessionsBucket, Description: "sockets that can be recovered",
			TTL: s.Lifetime(), Replicas: s.cfg.Replicas, MaxBytes: s.cfg.Bytes,
		})
		cancel()
		if err == nil {
			missing.Over(ctx)
			s.kv <- kv
			return kv, nil
		}
		missing.Failed(ctx, err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(bucketRetry):
		}
	}
}

// bucket gives the bucket, nil while there is none.
func (s *Store) bucket() jetstream.KeyValue {
	select {
	case kv := <-s.kv:
		s.kv <- kv
		return kv
	default:
		return nil
	}
}

// Save writes the state of a socket that this gateway has, without waiting: what is lost costs a recovery, not a message.
func (s *Store) Save(pid string, state *enginev1.SessionState) {
	raw, err := s.encode(state)
	if err != nil {
		s.log.Error("session state cannot be encoded", slog.Any("error", err))
		return
	}
	s.put(subject.SessionState(pid), raw)
}

// encode names this gateway as the one that has the socket.
func (s *Store) encode(state *enginev1.SessionState) ([]byte, error) {
	state.GatewayId, state.Incarnation = s.cfg.GatewayID, s.cfg.Incarnation
	return proto.Marshal(state)
}

// End writes that a socket's connection has ended now, without waiting. After a final end nobody recovers the socket, and what the
// bucket has of it is removed.
func (s *Store) End(pid string, end *enginev1.SessionEnd) {
	end.At = timestamppb.Now()
	raw, err := proto.Marshal(end)
	if err != nil {
		s.log.Error("session end cannot be encoded", slog.Any("error", err))
		return
	}
	if end.GetFinal() {
		s.removal.add(pid, end.GetNonce())
	}
	s.put(subject.SessionEnd(pid), raw)
}

func (s *Store) put(key string, value []byte) {
	if err := s.nc.PublishRequest(subject.SessionsKey(key), s.answers, value); err != nil {
		s.refused(context.Background(), err) //nolint:forbidigo // for the log: nothing waits
	}
}

// Adopt makes a socket this gateway's, if its state is still of the revision that Load gave; otherwise it is ErrChanged: the gateway
// that has the socket wrote its state again, or another one was faster.
func (s *Store) Adopt(ctx context.Context, pid string, state *enginev1.SessionState, revision uint64) error {
	kv := s.bucket()
	if kv == nil {
		return errNoBucket
	}
	raw, err := s.encode(state)
	if err != nil {
		return fmt.Errorf("encode session state: %w", err)
	}
	_, err = kv.Update(ctx, subject.SessionState(pid), raw, revision)
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return fmt.Errorf("adopt a socket: %w", ErrChanged)
	}
	if err != nil {
		return fmt.Errorf("adopt a socket: %w", err)
	}
	return nil
}
