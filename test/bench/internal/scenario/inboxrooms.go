//go:build linux

package scenario

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// inboxSize is how many members a room has.
const inboxSize = 10

// inboxLayout says which of the users 0 to users-1 are in which rooms: each in one of every turn, of which there are each. No two users have
// many rooms in common, as far as the numbers allow.
type inboxLayout struct {
	run         string
	users, each int // users: a multiple of inboxSize
}

// rooms is how many rooms there are of one turn.
func (l inboxLayout) rooms() int { return l.users / inboxSize }

// room is the name of a room of a turn.
func (l inboxLayout) room(turn, room int) string {
	return "bench-" + l.run + "-inbox-" + strconv.Itoa(turn) + "-" + strconv.Itoa(room)
}

// member is one of the inboxSize members of a room, by number; the first one is its owner. Of every so many users in a row each is in another
// room of the turn, and these move on by a room for each turn.
func (l inboxLayout) member(turn, room, number int) (user int) {
	n := l.rooms()
	return number*n + ((room-turn*number)%n+n)%n
}

// inboxTable is rows of a table.
type inboxTable struct {
	schema, name string
	columns      []string
	rows         int
	row          func(i int) []any
}

// fillInboxes writes the users, the rooms and who is in them, with one message in each, as the services would have, a while ago.
func (b *Bench) fillInboxes(ctx context.Context, l inboxLayout) error {
	b.Say("  %d users and %d rooms of %d members are stored", l.users, l.rooms()*l.each, inboxSize)
	db, err := pgx.Connect(ctx, b.System.Database)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	for _, t := range append(b.inboxUsers(l), b.inboxRooms(l)...) {
		name := pgx.Identifier{t.schema, t.name}
		rows := pgx.CopyFromSlice(t.rows, func(i int) ([]any, error) { return t.row(i), nil })
		if _, err := db.CopyFrom(ctx, name, t.columns, rows); err != nil {
			return fmt.Errorf("store %s: %w", t.name, err)
		}
		// What autovacuum would do in a minute or two, and meanwhile the figures would be its own.
		if _, err := db.Exec(ctx, "VACUUM ANALYZE "+name.Sanitize()); err != nil {
			return fmt.Errorf("analyze %s: %w", t.name, err)
		}
	}
	return nil
}

// nameVersion is that of all names: auth-service and chat-service agree about them, so that nothing is announced.
const nameVersion = int64(1)

func (b *Bench) inboxUsers(l inboxLayout) []inboxTable {
	return []inboxTable{
		{"auth", "users", []string{"id", "name", "role", "name_version"}, l.users, func(i int) []any {
			return []any{b.userID(i), userName(i), "user", nameVersion}
		}},
		{"chat", "user_names", []string{"user_id", "name", "version"}, l.users, func(i int) []any {
			return []any{b.userID(i), userName(i), nameVersion}
		}},
	}
}

func (b *Bench) inboxRooms(l inboxLayout) []inboxTable {
	now, total := time.Now(), l.rooms()*l.each
	member := func(room, number int) int { return l.member(room/l.rooms(), room%l.rooms(), number) }
	name := func(room int) string { return l.room(room/l.rooms(), room%l.rooms()) }
	return []inboxTable{
		{"chat", "rooms", []string{"room_id", "name", "owner_id", "kind", "last_seq", "message_count"}, total, func(i int) []any {
			return []any{name(i), "Room " + strconv.Itoa(i), b.userID(member(i, 0)), "private", int64(1), int64(1)}
		}},
		{
			"chat", "memberships",
			[]string{"room_id", "user_id", "user_name", "name_version", "role"},
			total * inboxSize,
			func(i int) []any {
				room, user := i/inboxSize, member(i/inboxSize, i%inboxSize)
				role := "member"
				if i%inboxSize == 0 {
					role = "owner"
				}
				return []any{name(room), b.userID(user), userName(user), nameVersion, role}
			},
		},
		{
			"chat", "messages",
			[]string{"room_id", "seq", "id", "sender_id", "sender_name", "content", "type", "created_at", "n"},
			total,
			func(i int) []any {
				var id [16]byte
				binary.BigEndian.PutUint64(id[8:], uint64(i)+1) //nolint:gosec // not negative
				at, owner := now.Add(-time.Duration(total-i)*time.Millisecond), member(i, 0)
				return []any{name(i), int64(1), id, b.userID(owner), userName(owner), content, "text", at, int64(1)}
			},
		},
	}
}
