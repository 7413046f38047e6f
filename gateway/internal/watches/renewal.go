package watches

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/starling-chat/starling/proto/fault"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
)

const (
	renewEvery = 30 * time.Second // a change that was missed is found within this
	grantLife  = 5 * time.Minute  // a watch of users that depends on rooms is granted anew after this
	askTimeout = 5 * time.Second
)

// renewLoop asks now and then how those are who are watched here, and whether the watches may go on. It costs as much as is watched.
func (t *Watches) renewLoop(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			t.report(t.renew(ctx))
		case <-t.missed:
			t.report(t.renew(ctx))
		case <-t.checks:
			t.report(t.checkGrants(ctx, time.Now()))
		}
	}
}

func (t *Watches) report(err error) {
	if err != nil {
		t.log.Debug("watches not renewed", slog.Any("error", err)) // the next round tries again
	}
}

// Resync is to be called when the bus is connected again: what was missed meanwhile is asked for.
func (t *Watches) Resync() {
	select {
	case t.missed <- struct{}{}:
	default: // a renewal is due already
	}
}

// checkSoon has grants looked at that are due.
func (t *Watches) checkSoon() {
	select {
	case t.checks <- struct{}{}:
	default:
	}
}

// renew learns how everybody is who is watched here, and who belongs to the watched rooms.
func (t *Watches) renew(ctx context.Context) error {
	users, rooms := t.graph.watched()
	if err := t.renewUsers(ctx, users); err != nil {
		return err
	}
	for _, room := range rooms {
		res, err := t.ask(ctx, &presencev1.WatchRequest{AsUserId: room.as.socket.UserID, RoomId: room.id, Renewal: true, Grants: opens(room.as.socket)})
		switch fault.KindOf(err) {
		case "":
			if unheard := t.graph.renewRoom(room.id, res); len(unheard) > 0 {
				if err = t.listening(ctx); err == nil {
					err = t.renewUsers(ctx, unheard)
				}
				if err != nil {
					return err
				}
			}
		case fault.Forbidden, fault.NotFound: // this one is no member any more; another watcher is asked for next time
			t.graph.unwatchRoom(room.as, room.id)
		case fault.TooLarge:
			t.graph.endRoom(room.id)
		default:
			return err
		}
	}
	return t.checkGrants(ctx, time.Now())
}

// renewUsers learns how users are who are watched here.
func (t *Watches) renewUsers(ctx context.Context, ids []string) error {
	for some := range slices.Chunk(ids, maxWatched) {
		res, err := t.ask(ctx, &presencev1.WatchRequest{UserIds: some, Renewal: true})
		if err != nil {
			return err
		}
		t.graph.answers(res.GetUsers())
	}
	return nil
}

// checkGrants has watches of users granted anew that depend on rooms.
func (t *Watches) checkGrants(ctx context.Context, now time.Time) error {
	for _, g := range t.graph.expired(now.Add(-grantLife)) {
		ask := &presencev1.WatchRequest{AsUserId: g.watcher.socket.UserID, UserIds: g.users, Renewal: true, Grants: opens(g.watcher.socket)}
		res, err := t.ask(ctx, ask)
		switch fault.KindOf(err) {
		case "":
			t.graph.deny(g.watcher, res.GetDeniedUserIds(), now)
		case fault.Forbidden:
			t.graph.deny(g.watcher, g.users, now)
		default:
			return err
		}
	}
	return nil
}

// listening returns when the subscriptions that were made reach the NATS server.
func (t *Watches) listening(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := t.nc.FlushWithContext(ctx); err != nil {
		return away(fmt.Errorf("flush subscriptions: %w", err))
	}
	return nil
}

// away is the fault where the bus does not answer.
func away(cause error) error {
	return &fault.Error{Kind: fault.Unavailable, Message: "Presence is unavailable", RetryAfter: retryAfter, Cause: cause}
}

func (t *Watches) ask(ctx context.Context, r *presencev1.WatchRequest) (*presencev1.WatchResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	res, err := t.service.Watch(ctx, r)
	return res, fault.FromStatus(err)
}

// roomRef is a watched room and one of those who watch it.
type roomRef struct {
	id string
	as *watcher
}

// watched lists who and what is watched here.
func (g *graph) watched() (users []string, rooms []roomRef) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id := range g.users {
		users = append(users, id)
	}
	for id, room := range g.rooms {
		for w := range room.watchers {
			rooms = append(rooms, roomRef{id, w})
			break
		}
	}
	return users, rooms
}

// answers learns what presence-service answered about users.
func (g *graph) answers(users []*presencev1.UserPresence) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, answered := range users {
		if u := g.users[answered.GetUserId()]; u != nil {
			g.learn(u, answered.GetOnline(), answered.GetLastSeen(), time.Time{})
		}
	}
}

// renewRoom makes the members of a watched room those that presence-service told; see setMembers.
func (g *graph) renewRoom(id string, res *presencev1.WatchResponse) (unheard []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	room := g.rooms[id]
	if room == nil {
		return nil
	}
	unheard, _ = g.setMembers(room, res.GetUsers()) // a subscription that fails is tried again the next time
	return unheard
}

// endRoom ends all watches of a room.
func (g *graph) endRoom(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if room := g.rooms[id]; room != nil {
		for w := range room.watchers {
			g.leave(w, room)
		}
	}
}

// grant is what a socket watches that is to be granted anew.
type grant struct {
	watcher *watcher
	users   []string
}

// expired lists the watches of users that depend on rooms and were granted before a time.
func (g *graph) expired(before time.Time) (grants []grant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen := make(map[*watcher]struct{})
	for _, u := range g.users {
		for w := range u.watchers {
			if _, again := seen[w]; again || !w.expires || w.held > 0 || w.granted.After(before) {
				continue
			}
			seen[w] = struct{}{}
			g := grant{watcher: w, users: make([]string, 0, len(w.users))}
			for watched := range w.users {
				g.users = append(g.users, watched.id)
			}
			grants = append(grants, g)
		}
	}
	return grants
}
