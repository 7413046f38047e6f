package sessionstore

import (
	"bytes"
	"context"
	"errors"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// fullAt is the share of the bucket's bound from which on its level is worth a line in the log.
const fullAt = 0.9

var (
	errNoStream = errors.New("nobody stores the bucket")
	errFull     = errors.New("the bucket is almost full")
)

// watchWrites takes in what JetStream answers to each write: nobody waits for it, but a refusal means that a socket cannot be
// recovered, and is counted and logged.
func (s *Store) watchWrites(ctx context.Context) (*nats.Subscription, error) {
	return s.nc.Subscribe(s.answers, func(msg *nats.Msg) {
		switch {
		case len(msg.Data) == 0 && msg.Header.Get("Status") == "503":
			s.refused(ctx, errNoStream)
		case bytes.Contains(msg.Data, []byte(`"error"`)):
			s.refused(ctx, errors.New(string(msg.Data[:min(len(msg.Data), 300)])))
		default:
			s.writing.Over(ctx)
		}
	})
}

func (s *Store) refused(ctx context.Context, err error) {
	s.stats.RecoveryRefused.Inc()
	s.writing.Failed(ctx, err)
}

// measure asks how full the bucket is.
func (s *Store) measure(ctx context.Context, kv jetstream.KeyValue) {
	call, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	status, err := kv.Status(call)
	if err != nil {
		return // refused writes tell
	}
	level := float64(status.Bytes())
	s.stats.RecoveryBytes.Set(level)
	s.stats.RecoveryLimit.Set(float64(s.cfg.Bytes))
	if s.cfg.Bytes > 0 && level > fullAt*float64(s.cfg.Bytes) {
		s.filling.Failed(ctx, errFull, slog.Uint64("bytes", status.Bytes()), slog.Int64("limit", s.cfg.Bytes))
		return
	}
	s.filling.Over(ctx)
}
