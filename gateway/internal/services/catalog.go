package services

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// Catalog remembers which client events the services answer, so that an event without responder gets the right fault: its
// service is away, or nobody knows it. NATS routes; the catalog only explains.
type Catalog struct {
	mu       sync.RWMutex // guards what follows
	expected []string     // services that have not announced themselves yet
	services map[string]*eventv1.Catalog
	owners   map[string]owner   // by subject, of subjects that occurred and are known
	clocks   map[string]*clocks // by service
}

// owner is the service that answers a subject, and what is looked up in its catalog for every request.
type owner struct {
	*eventv1.Catalog // nil: nobody is known to answer it

	oneAtATime bool
}

// maxOwners bounds the memory of looked-up subjects; only subjects that fit a pattern enter it.
const maxOwners = 1024

// NewCatalog makes a catalog that knows nothing yet, and expects services to announce themselves.
func NewCatalog(services []string) *Catalog {
	return &Catalog{
		expected: slices.Clone(services), services: make(map[string]*eventv1.Catalog), owners: make(map[string]owner),
		clocks: make(map[string]*clocks),
	}
}

// Announced notes what a replica of a service says that it answers, and what its clock shows. It changes a.
func (c *Catalog) Announced(a *eventv1.Catalog, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.GetReplica() != 0 {
		c.clocksLocked(a.GetService()).hear(a.GetReplica(), a.GetClockMs(), now)
		a.Replica, a.ClockMs = 0, 0 // the rest is the same for all replicas
	}
	c.expected = slices.DeleteFunc(c.expected, func(s string) bool { return s == a.GetService() })
	if !proto.Equal(c.services[a.GetService()], a) {
		c.services[a.GetService()] = a
		clear(c.owners)
	}
}

// of gives what the service that answers a subject announced.
func (c *Catalog) of(subj string) owner {
	c.mu.RLock()
	known, ok := c.owners[subj]
	c.mu.RUnlock()
	if ok {
		return known
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, service := range c.services {
		if matches(service.GetPatterns(), subj) {
			found := owner{service, matches(service.GetOneAtATime(), subj)}
			if len(c.owners) < maxOwners {
				c.owners[subj] = found
			}
			return found
		}
	}
	return owner{}
}

func matches(patterns []string, subj string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return subject.Match(p, subj) })
}

// Owner tells which service answers a subject; "none" if nobody is known to.
func (c *Catalog) Owner(subj string) string {
	if service := c.of(subj); service.Catalog != nil {
		return service.GetService()
	}
	return "none"
}

// Batch tells how many events of a subject one request may carry.
func (c *Catalog) Batch(subj string) int {
	service := c.of(subj)
	if service.GetBatch() > 1 && matches(service.GetBatched(), subj) {
		return int(service.GetBatch())
	}
	return 1
}

// Repeats tells whether a request that has no answer may be sent again, and whether one of its attempts at most may be begun at any time.
func (c *Catalog) Repeats(subj string) (repeats, oneAtATime bool) {
	service := c.of(subj)
	return service.GetRepeats(), service.oneAtATime
}

// Heard is what was heard of the clocks of those who may get an event, as ClientEvent.heard has it, encoded. Nobody may change it.
func (c *Catalog) Heard(subj string) []byte {
	service := c.of(subj).GetService()
	c.mu.RLock()
	defer c.mu.RUnlock()
	if known := c.clocks[service]; known != nil {
		return known.encoded
	}
	return nil
}

func (c *Catalog) clocksLocked(service string) *clocks {
	known := c.clocks[service]
	if known == nil {
		known = &clocks{}
		c.clocks[service] = known
	}
	return known
}

// Missing is the fault for an event that had no responder.
func (c *Catalog) Missing(subj string) *fault.Error {
	if c.of(subj).Catalog != nil {
		return fault.Retry(fault.Unavailable, "Service unavailable", time.Second)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.expected) > 0 {
		return fault.Retry(fault.Unavailable, "Service unavailable", time.Second)
	}
	return fault.New(fault.UnknownEvent, "Unknown event")
}
