package presence

import (
	"maps"
	"slices"
	"time"
)

// maxDepartures bounds the departures that wait for PostgreSQL; beyond it new ones are dropped and counted: the
// periodic sighting of the user has to do.
const maxDepartures = 100_000

// maxChanges bounds the changes that wait to be published. Beyond it a new one is not published; gateways ask anew now and then how
// those are whom somebody watches.
const maxChanges = 100_000

// changes holds what happened and still has to be passed on: who came and left to the gateways, departures to the store.
// Followers keep it for a while as well, so that a new leader can publish what the old one may not have published. The
// Registry owns it, under its lock.
type changes struct {
	byUser     map[UserID]change // the last unpublished change of each user
	departures map[UserID]time.Time
	dropped    uint64
	count      uint64    // numbers the changes
	since      time.Time // when the first unpublished change came up; zero when there is none
}

type change struct {
	online bool
	number uint64
	at     time.Time
	seen   time.Time // of one who went: when it was seen last
}

func newChanges() changes {
	return changes{byUser: make(map[UserID]change), departures: make(map[UserID]time.Time)}
}

// online records that a user came online.
func (c *changes) online(id UserID, now time.Time) {
	c.request(now)
	c.record(id, change{online: true, number: c.count, at: now})
}

// offline records that a user, last seen at seen, went offline.
func (c *changes) offline(id UserID, seen, now time.Time) {
	c.request(now)
	c.record(id, change{number: c.count, at: now, seen: seen})
	if _, ok := c.departures[id]; !ok && len(c.departures) >= maxDepartures {
		c.dropped++
		return
	}
	c.departures[id] = seen
}

func (c *changes) record(id UserID, last change) {
	if _, known := c.byUser[id]; known || len(c.byUser) < maxChanges {
		c.byUser[id] = last
	}
}

// request asks for a message to the gateways, even where no user changed: a new gateway has to learn who is online.
func (c *changes) request(now time.Time) {
	c.count++
	if c.since.IsZero() {
		c.since = now
	}
}

// Changes signals that there may be something to publish.
func (r *Registry) Changes() <-chan struct{} { return r.signal }

// Pending gives the time of the first change that no message has carried yet; false when there is none.
func (r *Registry) Pending() (time.Time, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.changes.since, !r.changes.since.IsZero()
}

// Online composes the next message to the gateways; Published has to follow when it was sent.
func (r *Registry) Online() Online {
	r.mu.RLock()
	defer r.mu.RUnlock()
	o := Online{upTo: r.changes.count}
	if r.cfg.Scope == ScopeEveryone {
		o.Count, o.Complete = len(r.users), len(r.users) <= MaxListed
	}
	if o.Complete {
		o.Users = slices.Sorted(maps.Keys(r.users))
	}
	if r.cfg.Scope == ScopeNone {
		return o
	}
	o.Changes = make([]Change, 0, len(r.changes.byUser))
	for id, c := range r.changes.byUser {
		o.Changes = append(o.Changes, Change{User: id, Online: c.online, Seen: c.seen})
	}
	return o
}

// Published forgets the changes that a message, sent at now, has carried. What came up since the message was composed stays for the
// next one.
func (r *Registry) Published(o Online, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.changes.byUser, func(_ UserID, c change) bool { return c.number <= o.upTo })
	r.changes.since = time.Time{}
	if len(r.changes.byUser) > 0 || r.changes.count != o.upTo {
		r.changes.since = now
	}
}

// Departures gives up to limit departures that have not been stored; Stored has to follow when they were.
func (r *Registry) Departures(limit int) []Sighting {
	r.mu.RLock()
	defer r.mu.RUnlock()
	sightings := make([]Sighting, 0, min(limit, len(r.changes.departures)))
	for id, at := range r.changes.departures {
		if len(sightings) == limit {
			break
		}
		sightings = append(sightings, Sighting{id, at})
	}
	return sightings
}

// Stored forgets departures that are stored.
func (r *Registry) Stored(sightings []Sighting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range sightings {
		if r.changes.departures[s.User].Equal(s.At) {
			delete(r.changes.departures, s.User)
		}
	}
}

// Forget drops changes older than a time, in a replica that follows: its leader has published them.
func (r *Registry) Forget(before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.changes.byUser, func(_ UserID, c change) bool { return c.at.Before(before) })
	maps.DeleteFunc(r.changes.departures, func(_ UserID, at time.Time) bool { return at.Before(before) })
	if len(r.changes.byUser) == 0 {
		r.changes.since = time.Time{}
	}
}
