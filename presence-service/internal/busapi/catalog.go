package busapi

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

const announceEvery = 5 * time.Second

// Catalog tells gateways which client events this service answers: at start, periodically, and when one asks.
type Catalog struct {
	Conn     *nats.Conn
	Service  string
	Patterns []string
}

// Run announces until ctx ends.
func (c *Catalog) Run(ctx context.Context) error {
	raw, err := proto.Marshal(&eventv1.Catalog{Service: c.Service, Patterns: c.Patterns, Repeats: true}) // they only read
	if err != nil {
		return fmt.Errorf("encode catalog: %w", err)
	}
	asked := make(chan *nats.Msg, 1) // one answer serves all who ask meanwhile
	sub, err := c.Conn.Subscribe(subject.CatalogAsk, func(m *nats.Msg) {
		select {
		case asked <- m:
		default:
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject.CatalogAsk, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		// Fails only while NATS is away; then the next one does it.
		_ = c.Conn.Publish(subject.CatalogAnnounce, raw)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-asked:
		}
	}
}
