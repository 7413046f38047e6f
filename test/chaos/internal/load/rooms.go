package load

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// phase is how a client stands to a room.
type phase uint8

const (
	outside    phase = iota // no open view
	catchingUp              // let in, but history pages are still missing: live events are buffered
	open                    // the view is open
	left                    // room:leave was acked
)

// Sizes of history.
const (
	sinceLimit = 500
	pageLimit  = 100
)

// room is a client's state in one room; guarded by rooms.mu.
//
//	outside ──join acked──▶ catchingUp ──all pages──▶ open ──leave acked──▶ left
//	   ▲                                                │
//	   └─────────── connection not recovered ───────────┘
type room struct {
	// Fixed at birth.
	index int
	id    string

	want bool // to be in it
	// leaving: a room:leave may have taken effect, and is repeated until it is acked, wanted or not.
	leaving bool
	member  bool // a join was acked, and no leave invoked since
	phase   phase
	last    uint64 // the highest sequence seen: where the next since starts
	view    int    // in rooms.views; -1 while there is none that is open

	// The join under way.
	joining  bool
	entering bool          // by room:enter: live events come as soon as the history has, before the ack
	repeated bool          // an earlier one on the same socket got no ack: the socket may be in the room
	history  []chatMessage // the last room:history, before its ack; then all pages
	opening  history.View
	buffered []seenEvent // live events that came before the ack of a room:enter, or while pages were fetched

	lastRead uint64 // of receipts

	kept
}

// rooms brings a client's rooms to where they are wanted, and writes down what is seen of them.
type rooms struct {
	// Fixed at birth.
	*user
	conn    *connection
	log     *ownLog
	byID    map[string]*room
	order   []*room       // the same, as planned
	changed chan struct{} // wakes the steward; capacity 1

	mu         sync.Mutex // guards all below, and the rooms
	number     int        // of the connection
	views      []history.View
	deliveries []history.Delivery
	online     []history.Online
	states     []history.State // in the end
}

func newRooms(u *user, log *ownLog) *rooms {
	rs := &rooms{user: u, log: log, byID: make(map[string]*room), changed: make(chan struct{}, 1)}
	for _, index := range u.load.plan.inRooms[u.index] {
		r := &room{index: index, id: u.load.plan.rooms[index], want: true, view: -1, kept: newKept(0)}
		rs.byID[r.id] = r
		rs.order = append(rs.order, r)
	}
	return rs
}

// wake tells the steward that something changed.
func (rs *rooms) wake() {
	select {
	case rs.changed <- struct{}{}:
	default:
	}
}

// steward brings the client's rooms to where they are wanted, one step at a time.
func (rs *rooms) steward(ctx context.Context) {
	for {
		if rs.conn.awaitUp(ctx) != nil {
			return
		}
		r, step := rs.nextStep()
		if r == nil {
			select {
			case <-ctx.Done():
				return
			case <-rs.changed:
			}
			continue
		}
		wait := step(ctx, r)
		if wait > 0 && pause(ctx, wait) != nil {
			return
		}
	}
}

// nextStep finds a room that is not where it is wanted.
func (rs *rooms) nextStep() (*room, func(context.Context, *room) time.Duration) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.order {
		switch {
		case r.leaving:
			return r, rs.leave
		case r.want && r.phase == catchingUp:
			return r, rs.fetchPage
		case r.want && r.phase == outside && rs.role.enters():
			return r, rs.enter
		case r.want && r.phase != open:
			return r, rs.join
		case r.want && r.phase == open && r.stale:
			return r, rs.fetchChanges
		case !r.want && r.phase != left && (r.member || r.view >= 0 || r.last > 0):
			return r, rs.leave
		}
	}
	return nil, nil
}

// setWant says whether the client is to be in a room.
func (rs *rooms) setWant(r *room, want bool) {
	rs.mu.Lock()
	r.want = want
	rs.mu.Unlock()
	rs.wake()
}

// endViewsLocked ends what a connection that was not carried on had open.
func (rs *rooms) endViewsLocked(at history.Time) {
	for _, r := range rs.order {
		rs.endViewLocked(r, at)
		r.history, r.buffered, r.repeated, r.joining, r.entering = nil, nil, false, false, false
		if r.phase != left {
			r.phase = outside
		}
	}
}

func (rs *rooms) endViewLocked(r *room, at history.Time) {
	if r.view >= 0 {
		rs.views[r.view].End = at
		r.view = -1
	}
}

// removing notes that a moderator begins to take the client out of a room: nothing more is said there.
func (rs *rooms) removing(r *room) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r.member = false
	if r.view >= 0 {
		rs.views[r.view].Removing = rs.now()
	}
}

// removed notes that the client is out, as the moderator was told: it does not come back by itself.
func (rs *rooms) removed(r *room, since history.Time) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r.view >= 0 {
		rs.views[r.view].Removing = since
	}
	rs.endViewLocked(r, rs.now())
	r.want, r.member, r.leaving, r.repeated, r.entering = false, false, false, false, false
	r.phase, r.history, r.buffered = left, nil, nil
}

// settled tells that nothing is under way in a room that the client is out of.
func (rs *rooms) settled(r *room) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return r.phase == left && !r.leaving && !r.joining
}

// unsure notes that a room:join got no answer: the socket may be in the room as soon as the client may.
func (rs *rooms) unsure(r *room) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r.repeated = true
}

// isMember tells whether messages may be sent into a room.
func (rs *rooms) isMember(r *room) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return r.member
}

// caughtUp tells whether all rooms are where they are wanted, and have been seen up to their heads, if given.
func (rs *rooms) caughtUp(heads []head) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.order {
		if r.want != (r.phase == open) || r.want && r.stale || heads != nil && r.want && r.last < heads[r.index].Load() {
			return false
		}
	}
	return true
}

func (rs *rooms) describe(s *strings.Builder) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.order {
		s.WriteString(fmt.Sprintf("; room %d wanted %t phase %d last %d of %d", r.index, r.want, r.phase, r.last, rs.load.heads[r.index].Load()))
	}
}

// into writes down what was seen.
func (rs *rooms) into(h *history.History) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	h.Views = append(h.Views, rs.views...)
	h.Online = append(h.Online, rs.online...)
	h.Deliveries = append(h.Deliveries, rs.deliveries...)
	h.States = append(h.States, rs.states...)
}
