package presence

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
func (p *Presence) renewLoop(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			p.report(p.renew(ctx))
		case <-p.missed:
			p.report(p.renew(ctx))
		case <-p.checks:
			p.report(p.checkGrants(ctx, time.Now()))
		}
	}
}

func (p *Presence) report(err error) {
	if err != nil {
		p.log.Debug("watches not renewed", slog.Any("error", err)) // the next round tries again
	}
}

// Resync is to be called when the bus is connected again: what was missed meanwhile is asked for.
func (p *Presence) Resync() {
	select {
	case p.missed <- struct{}{}:
	default: // a renewal is due already
	}
}

// checkSoon has grants looked at that are due.
func (p *Presence) checkSoon() {
	select {
	case p.checks <- struct{}{}:
	default:
	}
}

// renew learns how everybody is who is watched here, and who belongs to the watched rooms.
func (p *Presence) renew(ctx context.Context) error {
	users, rooms := p.watches.watched()
	if err := p.renewUsers(ctx, users); err != nil {
		return err
	}
	for _, room := range rooms {
		res, err := p.ask(ctx, &presencev1.WatchRequest{AsUserId: room.as.socket.UserID, RoomId: room.id, Renewal: true})
		switch fault.KindOf(err) {
		case "":
			if unheard := p.watches.renewRoom(room.id, res); len(unheard) > 0 {
				if err = p.listening(ctx); err == nil {
					err = p.renewUsers(ctx, unheard)
				}
				if err != nil {
					return err
				}
			}
		case fault.Forbidden, fault.NotFound: // this one is no member any more; another watcher is asked for next time
			p.watches.unwatchRoom(room.as, room.id)
		case fault.TooLarge:
			p.watches.endRoom(room.id)
		default:
			return err
		}
	}
	return p.checkGrants(ctx, time.Now())
}

// renewUsers learns how users are who are watched here.
func (p *Presence) renewUsers(ctx context.Context, ids []string) error {
	for some := range slices.Chunk(ids, maxWatched) {
		res, err := p.ask(ctx, &presencev1.WatchRequest{UserIds: some, Renewal: true})
		if err != nil {
			return err
		}
		p.watches.answers(res.GetUsers())
	}
	return nil
}

// checkGrants has watches of users granted anew that depend on rooms.
func (p *Presence) checkGrants(ctx context.Context, now time.Time) error {
	for _, g := range p.watches.expired(now.Add(-grantLife)) {
		res, err := p.ask(ctx, &presencev1.WatchRequest{AsUserId: g.watcher.socket.UserID, UserIds: g.users, Renewal: true})
		switch fault.KindOf(err) {
		case "":
			p.watches.deny(g.watcher, res.GetDeniedUserIds(), now)
		case fault.Forbidden:
			p.watches.deny(g.watcher, g.users, now)
		default:
			return err
		}
	}
	return nil
}

// listening returns when the subscriptions that were made reach the NATS server.
func (p *Presence) listening(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := p.nc.FlushWithContext(ctx); err != nil {
		return away(fmt.Errorf("flush subscriptions: %w", err))
	}
	return nil
}

// away is the fault where the bus does not answer.
func away(cause error) error {
	return &fault.Error{Kind: fault.Unavailable, Message: "Presence is unavailable", RetryAfter: retryAfter, Cause: cause}
}

func (p *Presence) ask(ctx context.Context, r *presencev1.WatchRequest) (*presencev1.WatchResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	res, err := p.cfg.Service.Watch(ctx, r)
	return res, fault.FromStatus(err)
}

// roomRef is a watched room and one of those who watch it.
type roomRef struct {
	id string
	as *watcher
}

// watched lists who and what is watched here.
func (t *watches) watched() (users []string, rooms []roomRef) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.users {
		users = append(users, id)
	}
	for id, room := range t.rooms {
		for w := range room.watchers {
			rooms = append(rooms, roomRef{id, w})
			break
		}
	}
	return users, rooms
}

// answers learns what presence-service answered about users.
func (t *watches) answers(users []*presencev1.UserPresence) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, answered := range users {
		if u := t.users[answered.GetUserId()]; u != nil {
			t.learn(u, answered.GetOnline(), answered.GetLastSeen(), time.Time{})
		}
	}
}

// renewRoom makes the members of a watched room those that presence-service told; see setMembers.
func (t *watches) renewRoom(id string, res *presencev1.WatchResponse) (unheard []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	room := t.rooms[id]
	if room == nil {
		return nil
	}
	unheard, _ = t.setMembers(room, res.GetUsers()) // a subscription that fails is tried again the next time
	return unheard
}

// endRoom ends all watches of a room.
func (t *watches) endRoom(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := t.rooms[id]; room != nil {
		for w := range room.watchers {
			t.leave(w, room)
		}
	}
}

// grant is what a socket watches that is to be granted anew.
type grant struct {
	watcher *watcher
	users   []string
}

// expired lists the watches of users that depend on rooms and were granted before a time.
func (t *watches) expired(before time.Time) (grants []grant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := make(map[*watcher]struct{})
	for _, u := range t.users {
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
