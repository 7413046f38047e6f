package presence

import "slices"

// page keeps the first users in order, so that naming them costs nothing per user online. It holds the smallest
// len(ids) users of the whole set, up to twice what is listed: only after MaxListed departures out of it does it have to
// be refilled from the whole set.
type page struct {
	ids []UserID
}

const pageSize = 2 * MaxListed

// add takes in a user that is new to the set, which had total users before.
func (p *page) add(id UserID, total int) {
	whole := len(p.ids) == total
	if !whole && (len(p.ids) == 0 || id > p.ids[len(p.ids)-1]) {
		return
	}
	if whole && len(p.ids) == pageSize && id > p.ids[pageSize-1] {
		return
	}
	at, found := slices.BinarySearch(p.ids, id)
	if found {
		return
	}
	p.ids = slices.Insert(p.ids, at, id)
	if len(p.ids) > pageSize {
		p.ids = p.ids[:pageSize]
	}
}

// remove drops a user that left the set.
func (p *page) remove(id UserID) {
	if at, found := slices.BinarySearch(p.ids, id); found {
		p.ids = slices.Delete(p.ids, at, at+1)
	}
}

// first gives the first MaxListed users of the set, sorted.
func (p *page) first(users map[UserID]*user) []UserID {
	if len(p.ids) < min(MaxListed, len(users)) {
		p.refill(users)
	}
	return slices.Clone(p.ids[:min(MaxListed, len(p.ids))])
}

// refill takes the smallest users of the whole set, sorting now and then instead of keeping a heap.
func (p *page) refill(users map[UserID]*user) {
	ids, full := p.ids[:0], false
	for id := range users {
		if full && id > ids[pageSize-1] {
			continue
		}
		if ids = append(ids, id); len(ids) == 2*pageSize {
			slices.Sort(ids)
			ids, full = ids[:pageSize], true
		}
	}
	slices.Sort(ids)
	p.ids = ids[:min(pageSize, len(ids))]
}
