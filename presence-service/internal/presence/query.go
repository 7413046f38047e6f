package presence

import (
	"context"
	"fmt"
	"time"
)

// MaxMembers is the largest room whose presence is answered at once.
const MaxMembers = 5000

// Query answers who is online.
type Query struct {
	Registry *Registry
	Store    LastSeenStore
	Members  Members
}

// Users tells the presence of users, in the order asked, each once. It fails with ErrWarming after a start, and with
// ErrUnavailable when somebody is offline and the store is away: "never seen" would be a lie.
func (q *Query) Users(ctx context.Context, users []UserID) ([]Status, error) {
	if !q.Registry.IsWarm() {
		return nil, ErrWarming
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

// Room tells the presence of a room's members, asked in the name of one of them.
func (q *Query) Room(ctx context.Context, room string, as UserID) ([]Status, error) {
	if !q.Registry.IsWarm() {
		return nil, ErrWarming
	}
	members, err := q.Members.Members(ctx, room, as)
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	if len(members) > MaxMembers {
		return nil, ErrTooLarge
	}
	return q.Users(ctx, members)
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

// FormatTime is how times look to clients: ISO 8601, UTC, milliseconds.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
