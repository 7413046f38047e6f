package eventserver

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// announcePause is the time between two announcements that nobody asked for.
const announcePause = 5 * time.Second

// catalog is what gateways have to know about the routes.
func (s *Server) catalog() *eventv1.Catalog {
	c := &eventv1.Catalog{Service: s.service.Name, Batch: maxBatch, Repeats: true}
	for pattern, route := range s.routes {
		c.Patterns = append(c.Patterns, pattern)
		if !route.Large {
			c.Batched = append(c.Batched, pattern)
		}
	}
	slices.Sort(c.Patterns) // so that gateways find the catalogs of all replicas equal
	slices.Sort(c.Batched)
	return c
}

// announceLoop tells gateways which events are answered here: at once, every few seconds, and when one asks.
func (s *Server) announceLoop(ctx context.Context) {
	raw, err := proto.Marshal(s.catalog())
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "catalog not encoded", slog.Any("error", err))
		return
	}
	asked := make(chan *nats.Msg, 1) // one answer serves all who ask meanwhile
	ask, err := s.nc.Subscribe(subject.CatalogAsk, func(m *nats.Msg) {
		select {
		case asked <- m:
		default:
		}
	})
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "gateways cannot ask for the catalog", slog.Any("error", err))
	} else {
		defer func() { _ = ask.Unsubscribe() }()
	}
	tick := time.NewTicker(announcePause)
	defer tick.Stop()
	for {
		_ = s.nc.Publish(subject.CatalogAnnounce, raw) // fails only while NATS is away, and is repeated soon
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-asked:
		}
	}
}
