package eventserver

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/platform/run"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// announcePause is the time between two announcements that nobody asked for: what gateways know of the clock is that old at most, and by
// so much the time for an event may be shorter. announceGap is that between two that somebody asked for.
const (
	announcePause = 500 * time.Millisecond
	announceGap   = 20 * time.Millisecond
)

// catalog is what gateways have to know about the routes.
func (s *Server) catalog() *eventv1.Catalog {
	c := &eventv1.Catalog{Service: s.service.Name, Batch: maxBatch, Repeats: true, Replica: s.clock.replica}
	for pattern, route := range s.routes {
		c.Patterns = append(c.Patterns, pattern)
		if !route.Large {
			c.Batched = append(c.Batched, pattern)
		}
		if route.OneAtATime {
			c.OneAtATime = append(c.OneAtATime, pattern)
		}
	}
	slices.Sort(c.Patterns) // so that gateways find the catalogs of all replicas equal
	slices.Sort(c.Batched)
	slices.Sort(c.OneAtATime)
	return c
}

// announceLoop tells gateways which events are answered here, and what the clock shows: at once, twice a second, and when one asks.
func (s *Server) announceLoop(ctx context.Context) {
	ask, err := s.nc.Subscribe(subject.CatalogAsk, func(*nats.Msg) { s.announceSoon() })
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "gateways cannot ask for the catalog", slog.Any("error", err))
	} else {
		defer func() { _ = ask.Unsubscribe() }()
	}
	catalog := s.catalog()
	tick := time.NewTicker(announcePause)
	defer tick.Stop()
	for {
		catalog.ClockMs = s.clock.shows()
		raw, err := proto.Marshal(catalog)
		if err != nil {
			s.log.LogAttrs(ctx, slog.LevelError, "catalog not encoded", slog.Any("error", err))
			return
		}
		_ = s.nc.Publish(subject.CatalogAnnounce, raw) // fails only while NATS is away, and is repeated soon
		if !run.Pause(ctx, announceGap) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.asked:
		}
	}
}

// announceSoon has the catalog announced.
func (s *Server) announceSoon() {
	select {
	case s.asked <- struct{}{}:
	default:
	}
}
