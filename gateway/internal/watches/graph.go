package watches

import (
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/proto/fault"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// graph is who of this gateway watches whom.
//
//	watcher (a socket) ──users──► watchedUser ◄──members── watchedRoom ◄──rooms── watcher
//	                                  │
//	                              its shard of users is subscribed to
//
// A shard without a watched user is not subscribed to, so that changes of users whom nobody watches here do not even reach the gateway.
type graph struct {
	// Fixed at birth.
	nc    *nats.Conn
	stats *stats.Stats
	heard chan *nats.Msg // changes of the shards that are subscribed to
	most  int            // links

	mu     sync.Mutex // guards what follows, and all that it leads to
	users  map[string]*watchedUser
	rooms  map[string]*watchedRoom
	shards [subject.UserShards]shard
	links  int // of all kinds: the arrows above
	// Who is to be sent something with the next round.
	changed      map[*watcher]struct{}
	changedRooms map[*watchedRoom]struct{}
}

// heardBuffer is how many messages with changes may wait; what does not fit is asked for with the next renewal.
const heardBuffer = 1024

// shard is the interest in one of the shards of users.
type shard struct {
	users int // watched ones
	sub   *nats.Subscription
}

// watcher is a socket that watches somebody, or did.
type watcher struct {
	socket *session.Socket // fixed at birth

	// Guarded by graph.mu.
	users   map[*watchedUser]struct{} // by their ids
	rooms   map[*watchedRoom]struct{}
	pending map[*watchedUser]struct{} // changes of users that were not sent yet
	held    int                       // questions under way: nothing is sent meanwhile
	expires bool                      // the watch of users is to be granted anew now and then
	granted time.Time
	ended   bool
}

func newWatcher(s *session.Socket) *watcher {
	return &watcher{
		socket: s, users: make(map[*watchedUser]struct{}), rooms: make(map[*watchedRoom]struct{}),
		pending: make(map[*watchedUser]struct{}),
	}
}

// watchedUser is a user whom somebody watches.
type watchedUser struct {
	id     string
	known  bool // online and seen say how it is
	online bool
	seen   string    // ISO 8601, of one that is offline; "" = not known
	heard  time.Time // when a change of it came last

	watchers map[*watcher]struct{}
	rooms    map[*watchedRoom]struct{}
}

// watchedRoom is a room whose members somebody watches.
type watchedRoom struct {
	id       string
	members  map[*watchedUser]struct{}
	watchers map[*watcher]struct{}
	pending  map[*watchedUser]struct{}
}

func newGraph(nc *nats.Conn, most int, st *stats.Stats) graph {
	return graph{
		stats: st, nc: nc, heard: make(chan *nats.Msg, heardBuffer), most: most,
		users: make(map[string]*watchedUser), rooms: make(map[string]*watchedRoom),
		changed: make(map[*watcher]struct{}), changedRooms: make(map[*watchedRoom]struct{}),
	}
}

// begin has a socket watch users in addition, before it is known whether it may, and gives those that are new to it. Nothing is
// sent to it until answered or cancel.
func (g *graph) begin(w *watcher, ids []string) (added []string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.roomFor(w, len(ids)); err != nil {
		return nil, err
	}
	for _, id := range ids {
		u, err := g.user(id)
		if err != nil {
			g.unlinkAll(w, added)
			return nil, err
		}
		if _, has := w.users[u]; !has {
			w.users[u], u.watchers[w] = struct{}{}, struct{}{}
			g.link(1)
			added = append(added, id)
		}
	}
	w.held++
	return added, nil
}

// cancel takes back what begin added.
func (g *graph) cancel(w *watcher, added []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unlinkAll(w, added)
	g.release(w)
}

// settle leaves a socket with the users that were granted. It is false when the socket has ended.
func (g *graph) settle(w *watcher, res *presencev1.WatchResponse, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.ended {
		return false
	}
	granted := make(map[string]*presencev1.UserPresence, len(res.GetUsers()))
	for _, p := range res.GetUsers() {
		granted[p.GetUserId()] = p
	}
	for u := range w.users {
		p, ok := granted[u.id]
		if !ok {
			g.unlink(w, u)
			continue
		}
		g.learn(u, p.GetOnline(), p.GetLastSeen(), time.Time{})
		if u.online != p.GetOnline() { // heard since it was answered
			g.mark(w, u)
		}
	}
	w.expires, w.granted = res.GetExpires(), now
	return true
}

// asking holds back what is to be sent to a socket until answered.
func (g *graph) asking(w *watcher) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.held++
}

// answered lets what a socket is to be sent go again: it has the answer.
func (g *graph) answered(w *watcher) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.release(w)
}

func (g *graph) release(w *watcher) {
	if w.held = max(w.held-1, 0); w.held == 0 && len(w.pending) > 0 && !w.ended {
		g.changed[w] = struct{}{}
	}
}

// deny ends a socket's watch of some users: it may no longer.
func (g *graph) deny(w *watcher, ids []string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unlinkAll(w, ids)
	w.granted = now
}

// watchRoom has a socket watch the members of a room. unheard are those of whom changes were not heard before.
func (g *graph) watchRoom(w *watcher, roomID string, res *presencev1.WatchResponse) (unheard []string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.roomFor(w, len(res.GetUsers())+1); err != nil {
		return nil, err
	}
	room := g.rooms[roomID]
	if room == nil {
		room = &watchedRoom{
			id: roomID, members: make(map[*watchedUser]struct{}), watchers: make(map[*watcher]struct{}), pending: make(map[*watchedUser]struct{}),
		}
		g.rooms[roomID] = room
	}
	if _, has := w.rooms[room]; !has {
		w.rooms[room], room.watchers[w] = struct{}{}, struct{}{}
		g.link(1)
	}
	if unheard, err = g.setMembers(room, res.GetUsers()); err != nil {
		g.leave(w, room)
		return nil, err
	}
	for _, p := range res.GetUsers() {
		if u := g.users[p.GetUserId()]; u.online != p.GetOnline() {
			g.mark(w, u)
		}
	}
	return unheard, nil
}

// setMembers makes the members of a room those that presence-service told, and learns how they are. The watchers are told of those who
// are new to a room that was watched before.
func (g *graph) setMembers(room *watchedRoom, members []*presencev1.UserPresence) (unheard []string, err error) {
	begins := len(room.members) == 0
	stay := make(map[*watchedUser]struct{}, len(members))
	for _, p := range members {
		isNew := g.users[p.GetUserId()] == nil
		u, err := g.user(p.GetUserId())
		if err != nil {
			return nil, err
		}
		if isNew {
			unheard = append(unheard, u.id)
		}
		stay[u] = struct{}{}
		_, was := room.members[u]
		if !was {
			room.members[u], u.rooms[room] = struct{}{}, struct{}{}
			g.link(1)
		}
		g.learn(u, p.GetOnline(), p.GetLastSeen(), time.Time{})
		if !was && !begins {
			g.markRoom(room, u)
		}
	}
	for u := range room.members {
		if _, stays := stay[u]; !stays {
			g.removeMember(room, u)
		}
	}
	return unheard, nil
}

func (g *graph) unwatchRoom(w *watcher, roomID string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if room := g.rooms[roomID]; room != nil {
		g.leave(w, room)
	}
}

// leftRoom ends a socket's watch of a room; check tells whether its watch of users may depend on that room, too.
func (g *graph) leftRoom(w *watcher, roomID string) (check bool) {
	g.unwatchRoom(w, roomID)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !w.expires || len(w.users) == 0 {
		return false
	}
	w.granted = time.Time{}
	return true
}

// end ends all watches of a socket that has ended.
func (g *graph) end(w *watcher) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.ended = true
	for u := range w.users {
		g.unlink(w, u)
	}
	for room := range w.rooms {
		g.leave(w, room)
	}
	delete(g.changed, w)
}

// What follows is for callers that hold mu.

// roomFor refuses links beyond the bound, and sockets that have ended.
func (g *graph) roomFor(w *watcher, links int) error {
	switch {
	case w.ended:
		return errGone
	case g.links+links > g.most:
		return fault.Retry(fault.Unavailable, "Too many users are watched here", retryAfter)
	}
	return nil
}

func (g *graph) link(n int) {
	g.links += n
	g.stats.PresenceWatches.Set(float64(g.links))
}

// retryAfter is what a client is told that cannot watch for now.
const retryAfter = 5 * time.Second

// user finds or makes a watched user, whose shard is heard from then on.
func (g *graph) user(id string) (*watchedUser, error) {
	if u := g.users[id]; u != nil {
		return u, nil
	}
	n := subject.UserShard(id)
	sh := &g.shards[n]
	if sh.sub == nil {
		sub, err := g.nc.ChanSubscribe(subject.PresenceChanged(n), g.heard)
		if err != nil {
			return nil, away(fmt.Errorf("subscribe to changes: %w", err))
		}
		sh.sub = sub
	}
	sh.users++
	u := &watchedUser{id: id, watchers: make(map[*watcher]struct{}), rooms: make(map[*watchedRoom]struct{})}
	g.users[id] = u
	return u, nil
}

// forget drops a user whom nobody watches any more.
func (g *graph) forget(u *watchedUser) {
	if len(u.watchers)+len(u.rooms) > 0 {
		return
	}
	delete(g.users, u.id)
	sh := &g.shards[subject.UserShard(u.id)]
	if sh.users--; sh.users == 0 {
		_ = sh.sub.Unsubscribe() // a closed connection hears nothing either
		sh.sub = nil
	}
}

func (g *graph) unlinkAll(w *watcher, ids []string) {
	for _, id := range ids {
		if u := g.users[id]; u != nil {
			g.unlink(w, u)
		}
	}
}

func (g *graph) unlink(w *watcher, u *watchedUser) {
	if _, has := w.users[u]; !has {
		return
	}
	delete(w.users, u)
	delete(u.watchers, w)
	delete(w.pending, u)
	g.link(-1)
	g.forget(u)
}

func (g *graph) leave(w *watcher, room *watchedRoom) {
	if _, has := w.rooms[room]; !has {
		return
	}
	delete(w.rooms, room)
	delete(room.watchers, w)
	g.link(-1)
	if len(room.watchers) > 0 {
		return
	}
	for u := range room.members {
		g.removeMember(room, u)
	}
	delete(g.rooms, room.id)
	delete(g.changedRooms, room)
}

func (g *graph) removeMember(room *watchedRoom, u *watchedUser) {
	delete(room.members, u)
	delete(room.pending, u)
	delete(u.rooms, room)
	g.link(-1)
	g.forget(u)
}

// trusted is how long a change that was heard counts more than an answer: the answer may be from before it.
const trusted = 2 * time.Second

// learn takes in how a user is by now: heard as a change at a time, or answered by presence-service (the zero time).
func (g *graph) learn(u *watchedUser, online bool, seen string, heard time.Time) {
	answer := heard.IsZero()
	if !answer {
		u.heard = heard
	}
	if u.known && (u.online == online || answer && time.Since(u.heard) < trusted) {
		return
	}
	first := !u.known
	u.known, u.online, u.seen = true, online, seen
	if first && answer { // the answer itself tells those who ask
		return
	}
	for w := range u.watchers {
		g.mark(w, u)
	}
	for room := range u.rooms {
		g.markRoom(room, u)
	}
}

func (g *graph) mark(w *watcher, u *watchedUser) {
	w.pending[u] = struct{}{}
	if w.held == 0 {
		g.changed[w] = struct{}{}
	}
}

func (g *graph) markRoom(room *watchedRoom, u *watchedUser) {
	room.pending[u] = struct{}{}
	g.changedRooms[room] = struct{}{}
}
