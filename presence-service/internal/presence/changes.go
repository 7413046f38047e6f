package presence

import (
	"maps"
	"slices"
	"time"
)

// maxDepartures bounds the departures that wait for PostgreSQL; beyond it new ones are dropped and counted: the
// periodic sighting of the user has to do.
const maxDepartures = 100_000

// maxChanges bounds the changes that wait to be published, where more users come and go than messages can name. Beyond it a
// new one is not published; the count in each message is right all the same.
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
}

func newChanges() changes {
	return changes{byUser: make(map[UserID]change), departures: make(map[UserID]time.Time)}
}

// online records that a user came online.
func (c *changes) online(id UserID, now time.Time) {
	c.request(now)
	c.record(id, change{true, c.count, now})
}

// offline records that a user, last seen at seen, went offline.
func (c *changes) offline(id UserID, seen, now time.Time) {
	c.request(now)
	c.record(id, change{false, c.count, now})
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
	r.mu.Lock() // the first page may be refilled
	defer r.mu.Unlock()
	o := Online{Users: r.listed.first(r.users), Count: len(r.users), Complete: len(r.users) <= MaxListed, upTo: r.changes.count}
	if o.Complete {
		return o
	}
	for id, c := range r.changes.byUser {
		switch {
		case c.online && len(o.Came) < MaxListed:
			o.Came = append(o.Came, id)
		case !c.online && len(o.Left) < MaxListed:
			o.Left = append(o.Left, id)
		}
	}
	slices.Sort(o.Came)
	slices.Sort(o.Left)
	return o
}

// Published forgets the changes that a message, sent at now, has carried. What came up since the message was composed, or
// did not fit in, stays for the next one.
func (r *Registry) Published(o Online, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.Complete {
		maps.DeleteFunc(r.changes.byUser, func(_ UserID, c change) bool { return c.number <= o.upTo })
	}
	for _, id := range o.Came {
		if r.changes.byUser[id].online {
			delete(r.changes.byUser, id)
		}
	}
	for _, id := range o.Left {
		if c, ok := r.changes.byUser[id]; ok && !c.online {
			delete(r.changes.byUser, id)
		}
	}
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
