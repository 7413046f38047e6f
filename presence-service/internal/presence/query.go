package presence

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// MaxMembers is the largest room whose presence is answered at once.
const MaxMembers = 5000

// Query answers who is online, to those who may know.
type Query struct {
	Registry *Registry
	Store    LastSeenStore
	Members  Members
	Scope    Scope
	// MaxWatched is the largest room that can be watched; 0 means MaxMembers.
	MaxWatched int
}

// ready refuses questions that nobody may ask, or that cannot be answered yet.
func (q *Query) ready() error {
	switch {
	case q.Scope == ScopeNone:
		return ErrOff
	case !q.Registry.IsWarm():
		return ErrWarming
	}
	return nil
}

// Users tells the presence of users to somebody who may know of everybody: in the order asked, each once. It fails with ErrOff,
// with ErrWarming after a start, and with ErrUnavailable when somebody is offline and the store is away: "never seen" would be a lie.
func (q *Query) Users(ctx context.Context, users []UserID) ([]Status, error) {
	if err := q.ready(); err != nil {
		return nil, err
	}
	statuses := q.Registry.Statuses(users)
	var unknown []UserID
	for _, s := range statuses {
		if !s.Online && s.LastSeen.IsZero() {
			unknown = append(unknown, s.User)
		}
	}
	if len(unknown) == 0 {
		return statuses, nil
	}
	seen, err := q.Store.LastSeen(ctx, unknown)
	if err != nil {
		return nil, fmt.Errorf("read last seen: %w", err)
	}
	for i, s := range statuses {
		if !s.Online && s.LastSeen.IsZero() {
			statuses[i].LastSeen = seen[s.User]
		}
	}
	return statuses, nil
}

// UsersAs is Users for a user; denied are those of whom the user may not know.
func (q *Query) UsersAs(ctx context.Context, as Asker, users []UserID) (statuses []Status, denied []UserID, err error) {
	if err := q.ready(); err != nil {
		return nil, nil, err
	}
	known, denied, err := q.split(ctx, as, users)
	if err != nil || len(known) == 0 {
		return nil, denied, err
	}
	statuses, err = q.Users(ctx, known)
	return statuses, denied, err
}

// split divides users into those of whom a user may know, and the others. Everybody may know of himself.
func (q *Query) split(ctx context.Context, as Asker, users []UserID) (known, denied []UserID, err error) {
	if q.Scope != ScopeRooms || !slices.ContainsFunc(users, func(id UserID) bool { return id != as.User }) {
		return users, nil, nil
	}
	mates, err := q.Members.Roommates(ctx, as, users)
	if err != nil {
		return nil, nil, fmt.Errorf("list roommates: %w", err)
	}
	may := make(map[UserID]struct{}, len(mates)+1)
	may[as.User] = struct{}{}
	for _, id := range mates {
		may[id] = struct{}{}
	}
	for _, id := range users {
		if _, ok := may[id]; ok {
			known = append(known, id)
		} else {
			denied = append(denied, id)
		}
	}
	return known, denied, nil
}

// Room tells the presence of a room's members, asked in the name of one of them.
func (q *Query) Room(ctx context.Context, room string, as Asker) ([]Status, error) {
	members, err := q.members(ctx, room, as, MaxMembers)
	if err != nil {
		return nil, err
	}
	return q.Users(ctx, members)
}

func (q *Query) members(ctx context.Context, room string, as Asker, most int) ([]UserID, error) {
	if err := q.ready(); err != nil {
		return nil, err
	}
	members, err := q.Members.Members(ctx, room, as)
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	if len(members) > most {
		return nil, ErrTooLarge
	}
	return members, nil
}

// Grant is the answer to somebody who wants to watch users.
type Grant struct {
	Users   []Status
	Denied  []UserID
	Expires bool // it depends on rooms, and has to be asked for again now and then
}

// WatchUsers grants a user to watch users.
func (q *Query) WatchUsers(ctx context.Context, as Asker, users []UserID) (Grant, error) {
	g := Grant{Expires: q.Scope == ScopeRooms}
	var err error
	g.Users, g.Denied, err = q.UsersAs(ctx, as, users)
	return g, err
}

// WatchRoom grants a member of a room to watch all of them. A renewal is answered without the store: it only has to tell who is online.
func (q *Query) WatchRoom(ctx context.Context, as Asker, room string, renewal bool) (Grant, error) {
	members, err := q.members(ctx, room, as, cmp.Or(q.MaxWatched, MaxMembers))
	if err != nil {
		return Grant{}, err
	}
	g := Grant{Expires: true}
	if renewal {
		g.Users = q.Registry.Statuses(members)
	} else {
		g.Users, err = q.Users(ctx, members)
	}
	return g, err
}

// Renew tells a gateway how users are by now whom its clients watch already.
func (q *Query) Renew(users []UserID) (Grant, error) {
	if err := q.ready(); err != nil {
		return Grant{}, err
	}
	return Grant{Users: q.Registry.Statuses(users)}, nil
}

// Statuses tells what is known here of users, each once; LastSeen is set for those who left and are not stored yet.
func (r *Registry) Statuses(users []UserID) []Status {
	r.mu.RLock()
	defer r.mu.RUnlock()
	statuses := make([]Status, 0, len(users))
	asked := make(map[UserID]struct{}, len(users))
	for _, id := range users {
		if _, again := asked[id]; again {
			continue
		}
		asked[id] = struct{}{}
		s := Status{User: id}
		if _, s.Online = r.users[id]; !s.Online {
			s.LastSeen = r.changes.departures[id]
		}
		statuses = append(statuses, s)
	}
	return statuses
}

// Users lists who has a socket right now, in no order.
func (r *Registry) Users() []UserID {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ids := make([]UserID, 0, len(r.users))
	for id, u := range r.users {
		if u.sockets > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// Stats counts what the registry holds.
type Stats struct {
	Users, Sockets, Gateways, Awaiting int
	Dropped                            uint64 // departures that were not stored for want of room
}

// Stats takes the counts.
func (r *Registry) Stats() Stats {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := Stats{Users: len(r.users), Sockets: r.sockets, Gateways: len(r.gateways), Dropped: r.changes.dropped}
	for _, g := range r.gateways {
		if g.awaiting {
			s.Awaiting++
		}
	}
	return s
}
