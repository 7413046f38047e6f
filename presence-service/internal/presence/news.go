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
// new one is not told; the count in each message is right all the same.
const maxChanges = 100_000

// news is what happened and still has to be told: changes to the gateways, departures to the store. Followers keep it for
// a while as well, so that a new leader can tell what the old one may not have told. Owned by the Registry, under its lock.
type news struct {
	changes    map[UserID]change
	departures map[UserID]time.Time
	dropped    uint64
	count      uint64    // numbers the news
	since      time.Time // of the first untold change; zero when there is none
}

type change struct {
	online bool
	number uint64
	at     time.Time
}

func newNews() news {
	return news{changes: make(map[UserID]change), departures: make(map[UserID]time.Time)}
}

func (n *news) came(id UserID, now time.Time) {
	n.greet(now)
	n.note(id, change{true, n.count, now})
}

func (n *news) note(id UserID, c change) {
	if _, known := n.changes[id]; known || len(n.changes) < maxChanges {
		n.changes[id] = c
	}
}

func (n *news) left(id UserID, seen, now time.Time) {
	n.greet(now)
	n.note(id, change{false, n.count, now})
	if _, ok := n.departures[id]; !ok && len(n.departures) >= maxDepartures {
		n.dropped++
		return
	}
	n.departures[id] = seen
}

// greet makes news of nothing but that somebody new listens.
func (n *news) greet(now time.Time) {
	n.count++
	if n.since.IsZero() {
		n.since = now
	}
}

// Changes signals that there may be something to publish.
func (r *Registry) Changes() <-chan struct{} { return r.signal }

// Untold gives the time of the first change that no message has told yet; false when there is none.
func (r *Registry) Untold() (time.Time, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.news.since, !r.news.since.IsZero()
}

// Online composes the next message to the gateways; Told has to follow when it was sent.
func (r *Registry) Online() Online {
	r.mu.Lock() // the first page may be refilled
	defer r.mu.Unlock()
	o := Online{Users: r.listed.first(r.users), Count: len(r.users), Complete: len(r.users) <= MaxListed, mark: r.news.count}
	if o.Complete {
		return o
	}
	for id, c := range r.news.changes {
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

// Told forgets the changes that a message, sent at now, has told. What came up since it was composed, or did not fit in,
// stays for the next one.
func (r *Registry) Told(o Online, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.Complete {
		maps.DeleteFunc(r.news.changes, func(_ UserID, c change) bool { return c.number <= o.mark })
	}
	for _, id := range o.Came {
		if r.news.changes[id].online {
			delete(r.news.changes, id)
		}
	}
	for _, id := range o.Left {
		if c, ok := r.news.changes[id]; ok && !c.online {
			delete(r.news.changes, id)
		}
	}
	r.news.since = time.Time{}
	if len(r.news.changes) > 0 || r.news.count != o.mark {
		r.news.since = now
	}
}

// Departures gives up to limit departures that have not been stored; Stored has to follow when they were.
func (r *Registry) Departures(limit int) []Sighting {
	r.mu.RLock()
	defer r.mu.RUnlock()
	sightings := make([]Sighting, 0, min(limit, len(r.news.departures)))
	for id, at := range r.news.departures {
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
		if r.news.departures[s.User].Equal(s.At) {
			delete(r.news.departures, s.User)
		}
	}
}

// Forget drops news older than a time, in a replica that follows: its leader has told them.
func (r *Registry) Forget(before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.news.changes, func(_ UserID, c change) bool { return c.at.Before(before) })
	maps.DeleteFunc(r.news.departures, func(_ UserID, at time.Time) bool { return at.Before(before) })
	if len(r.news.changes) == 0 {
		r.news.since = time.Time{}
	}
}
