package publisher

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/starling-chat/starling/proto/subject"
)

// StreamConfig has an operator's choices for the stream ROOMS.
type StreamConfig struct {
	Replicas   int
	MaxAge     time.Duration // of replay; longer than the recovery window of 2 min
	MaxBytes   int64
	Duplicates time.Duration // how long a repeated publication is recognised; the server remembers each id so long
	InMemory   bool
}

// stream makes the stream's configuration. It republishes what it stored to the live subjects, so that gateways get
// every durable event with its position.
func (c StreamConfig) stream() jetstream.StreamConfig {
	storage := jetstream.FileStorage
	if c.InMemory {
		storage = jetstream.MemoryStorage
	}
	return jetstream.StreamConfig{
		Name:        subject.RoomsStream,
		Description: "Durable room events of Starling, for replay; the record is PostgreSQL.",
		Subjects:    []string{subject.RoomsStreamSubjects},
		Storage:     storage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      c.MaxAge,
		MaxBytes:    c.MaxBytes,
		Replicas:    c.Replicas,
		Duplicates:  c.Duplicates,
		AllowDirect: true,
		RePublish:   &jetstream.RePublish{Source: subject.RoomsStreamSubjects, Destination: subject.RoomsLiveSubjects},
	}
}

// ensureStream creates the stream or brings it to the configuration.
func ensureStream(ctx context.Context, js jetstream.JetStream, cfg StreamConfig) error {
	if _, err := js.CreateOrUpdateStream(ctx, cfg.stream()); err != nil {
		return fmt.Errorf("ensure stream %s: %w", subject.RoomsStream, err)
	}
	return nil
}
