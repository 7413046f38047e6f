package relay

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// catalog remembers which client events the services answer, so that an event without responder gets the right fault: its
// service is away, or nobody knows it. NATS routes; the catalog only explains.
type catalog struct {
	mu       sync.RWMutex // guards what follows
	expected []string     // services that have not announced themselves yet
	services map[string]*eventv1.Catalog
	owners   map[string]*eventv1.Catalog // by subject, of subjects that occurred and are known
}

// maxOwners bounds the memory of looked-up subjects; only subjects that fit a pattern enter it.
const maxOwners = 1024

func newCatalog(services []string) *catalog {
	return &catalog{
		expected: slices.Clone(services), services: make(map[string]*eventv1.Catalog), owners: make(map[string]*eventv1.Catalog),
	}
}

func (c *catalog) announced(a *eventv1.Catalog) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expected = slices.DeleteFunc(c.expected, func(s string) bool { return s == a.GetService() })
	if !proto.Equal(c.services[a.GetService()], a) {
		c.services[a.GetService()] = a
		clear(c.owners)
	}
}

// of gives what the service that answers a subject announced; nil if nobody is known to.
func (c *catalog) of(subj string) *eventv1.Catalog {
	c.mu.RLock()
	owner, ok := c.owners[subj]
	c.mu.RUnlock()
	if ok {
		return owner
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, service := range c.services {
		for _, p := range service.GetPatterns() {
			if subject.Match(p, subj) {
				if len(c.owners) < maxOwners {
					c.owners[subj] = service
				}
				return service
			}
		}
	}
	return nil
}

// owner tells which service answers a subject; "none" if nobody is known to.
func (c *catalog) owner(subj string) string {
	if service := c.of(subj); service != nil {
		return service.GetService()
	}
	return "none"
}

// batch tells how many events of a subject one request may carry.
func (c *catalog) batch(subj string) int {
	service := c.of(subj)
	if service.GetBatch() > 1 && slices.ContainsFunc(service.GetBatched(), func(p string) bool { return subject.Match(p, subj) }) {
		return int(service.GetBatch())
	}
	return 1
}

// repeats tells whether a request that has no answer may be sent again.
func (c *catalog) repeats(subj string) bool { return c.of(subj).GetRepeats() }

// missing is the fault for an event that had no responder.
func (c *catalog) missing(subj string) *fault.Error {
	if c.of(subj) != nil {
		return fault.Retry(fault.Unavailable, "Service unavailable", time.Second)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.expected) > 0 {
		return fault.Retry(fault.Unavailable, "Service unavailable", time.Second)
	}
	return fault.New(fault.UnknownEvent, "Unknown event")
}

// askCatalog has every service announce its events.
func (r *Relay) askCatalog() {
	if err := r.nc.Publish(subject.CatalogAsk, nil); err != nil {
		r.log.Debug("catalog not asked", slog.Any("error", err)) // services announce themselves anyway
	}
}

func (r *Relay) catalogAnnounced(data []byte) {
	var a eventv1.Catalog
	if err := proto.Unmarshal(data, &a); err != nil {
		r.log.Warn("catalog cannot be decoded", slog.Any("error", err))
		return
	}
	r.catalog.announced(&a)
}
