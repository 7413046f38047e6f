package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/messages"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/proto/fault"
)

// attempt is usecases.Transaction: some commands, and what the tries of Commit so far have taught.
type attempt struct {
	store    *Store
	commands []rules.Command

	// repeats: look for earlier messages with the same client message id. Without it the unique index finds them, as a conflict.
	repeats bool
	// tried: by command, where tries of unknown outcome would have put its message.
	tried [][]rules.Position
}

var _ usecases.Transaction = (*attempt)(nil)

// Prepare implements usecases.Store.
func (s *Store) Prepare(commands []rules.Command) usecases.Transaction {
	return &attempt{store: s, commands: commands}
}

// Alone implements usecases.Transaction.
func (a *attempt) Alone(index int) usecases.Transaction {
	commands := a.commands[index : index+1 : index+1]
	one := &attempt{store: a.store, commands: commands, repeats: a.repeats}
	if a.tried != nil {
		one.tried = [][]rules.Position{a.tried[index]}
	}
	return one
}

// Commit implements usecases.Transaction in two round trips on one connection: see commit.go.
func (a *attempt) Commit(ctx context.Context) ([]rules.Outcome, chat.Outgoing, error) {
	var outcomes []rules.Outcome
	var out chat.Outgoing
	mayHaveCommitted := false
	// With its own deadline also where the circuit lets it try: a commit that is cut short has an unknown outcome.
	err := a.store.ask(ctx, func(context.Context) error {
		return a.store.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
			state, err := a.look(ctx, conn)
			if err != nil {
				return abort(ctx, conn, err)
			}
			var changes rules.Changes
			changes, outcomes = rules.Decide(state, a.commands)
			if len(changes.Repeats) > 0 {
				// Of what is refused it has to be known whether it is the repeat of something done.
				if err := roundtrip.Send(ctx, conn, []roundtrip.Step{messages.LookUpRepeats(changes.Repeats, &state)}); err != nil {
					return abort(ctx, conn, err)
				}
				changes, outcomes = rules.Decide(state, a.commands)
			}
			if changes.Empty() {
				_, err := conn.Exec(ctx, sqlRollback)
				return err
			}
			steps, err := a.store.withhold(ctx, conn, &changes)
			if err != nil {
				return abort(ctx, conn, err)
			}
			writing, err := a.store.writing(&changes, &out, state.At)
			if err != nil {
				return abort(ctx, conn, err)
			}
			steps = append(steps, writing...)
			mayHaveCommitted = true
			err = roundtrip.Send(ctx, conn, steps)
			var pgErr *pgconn.PgError
			if errors.As(err, &pgErr) && pgErr.Severity == "ERROR" {
				mayHaveCommitted = false // refused before COMMIT, which then rolls back
				return abort(ctx, conn, err)
			}
			return err
		})
	})
	if err == nil {
		return outcomes, out, nil
	}
	return nil, chat.Outgoing{}, a.learn(err, mayHaveCommitted, outcomes)
}

// learn gives a failure the meaning that usecases.Transaction promises, and notes what the next try has to know.
func (a *attempt) learn(err error, mayHaveCommitted bool, outcomes []rules.Outcome) error {
	if mayHaveCommitted {
		a.note(outcomes)
		return fmt.Errorf("commit batch: %w: %w", usecases.ErrUnknown, err)
	}
	switch {
	case pg.IsUnique(err, ""), pg.IsConflict(err):
		a.repeats = true
		return fmt.Errorf("commit batch: %w: %w", usecases.ErrConflict, err)
	case errors.Is(err, pg.ErrCircuitOpen):
		return fmt.Errorf("%w: %w", usecases.ErrUnavailable, pg.Refusal("commit batch", err))
	case fault.KindOf(pg.Wrap("commit batch", err)) == fault.Unavailable:
		return fmt.Errorf("commit batch: %w: %w", usecases.ErrUnavailable, err)
	}
	return fmt.Errorf("commit batch: %w", err)
}

// note remembers where the messages of a try of unknown outcome would be.
func (a *attempt) note(outcomes []rules.Outcome) {
	if a.tried == nil {
		a.tried = make([][]rules.Position, len(a.commands))
	}
	for i, o := range outcomes {
		if o.Changed && o.ID != (chat.MessageID{}) {
			a.tried[i] = append(a.tried[i], o.Position)
		}
	}
}

// abort ends the transaction; where even that fails, the pool closes the connection.
func abort(ctx context.Context, conn *pgxpool.Conn, cause error) error {
	if !conn.Conn().IsClosed() {
		_, _ = conn.Exec(ctx, sqlRollback)
	}
	return cause
}

// look is the first round trip: it begins the transaction, locks the rooms and reads what the commands need to be decided.
func (a *attempt) look(ctx context.Context, conn *pgxpool.Conn) (rules.State, error) {
	needs := rules.NeedsOf(a.commands, a.repeats)
	state := rules.State{
		Rooms:   make(map[chat.RoomID]rules.Room, len(needs.Rooms)),
		Members: make(map[chat.Membership]rules.Member, len(needs.Members)),
		Random:  random64,
		Again:   a.tried != nil,
		Quotas:  a.store.quotas,

		KeepEdits: a.store.keepEdits,
	}
	steps := append(make([]roundtrip.Step, 0, 10), roundtrip.Step{SQL: sqlBegin})
	if len(needs.Create) > 0 {
		steps = append(steps, createRooms(needs.Create, &state))
	}
	var uncounted []chat.RoomID
	steps = append(steps, lockRooms(needs.Rooms, &state, &uncounted))
	if len(needs.Names) > 0 {
		steps = append(steps, keepNames(needs.Names, &state)) // before memberships, as Rename does
	}
	if len(needs.Usage) > 0 && a.store.quotas != (rules.Quotas{}) {
		steps = append(steps, readUsage(needs.Usage, &state)) // after the names, which are locked
	}
	if len(needs.Logs)+len(needs.Mentioned) > 0 {
		steps = append(steps, lockLogs(needs.Logs, needs.Mentioned, &state)) // behind the rooms and the names, always
	}
	steps = append(steps, needSteps(&needs, &state)...)
	if len(needs.Infos) > 0 {
		steps = append(steps, readInfos(needs.Infos, &state))
	}
	if len(needs.Members) > 0 {
		steps = append(steps, readMembers(needs.Members, &state))
	}
	if len(needs.Owners) > 0 {
		steps = append(steps, readOwners(needs.Owners, &state))
	}
	if len(needs.Company) > 0 {
		steps = append(steps, readCompany(needs.Company, &state))
	}
	if len(needs.Counts) > 0 {
		steps = append(steps, readCounts(needs.Counts, &state))
	}
	if len(needs.Repeats) > 0 {
		steps = append(steps, messages.LookUpRepeats(needs.Repeats, &state))
	}
	if len(needs.Messages)+len(needs.Markers) > 0 {
		steps = append(steps, messages.Needs(&needs, &state)...)
	}
	if a.tried != nil {
		steps = append(steps, a.readTried(&state))
	}
	err := roundtrip.Send(ctx, conn, steps)
	if err == nil && len(uncounted) > 0 {
		err = roundtrip.Send(ctx, conn, []roundtrip.Step{messages.CountRooms(uncounted, &state)})
	}
	state.Now = time.Now() // after the lock: a room's messages are in the order of their times
	state.At = state.Now.UTC().Truncate(time.Millisecond)
	return state, err
}

// texts are ids of one kind as PostgreSQL takes them.
func texts[ID ~string](ids []ID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = string(id)
	}
	return list
}

func createRooms(rooms []chat.RoomID, state *rules.State) roundtrip.Step {
	state.Fresh = make(map[chat.RoomID]bool, len(rooms))
	return roundtrip.Step{SQL: sqlCreateRooms, Args: []any{texts(rooms)}, Scan: func(rows pgx.Rows) error {
		var id string
		err := rows.Scan(&id)
		state.Fresh[chat.RoomID(id)] = true
		return err
	}}
}

// lockRooms notes in uncounted the rooms of which it is not kept how many messages there are.
func lockRooms(rooms []chat.RoomID, state *rules.State, uncounted *[]chat.RoomID) roundtrip.Step {
	var id string
	var room rules.Room
	var seq, n, slow int64
	into := []any{ // each column of each row; once for all rows
		&id, &seq, &n, (*string)(&room.Owner), (*string)(&room.Kind), (*string)(&room.Settings.Send), &slow,
		&room.Settings.MaxMembers, &room.Archived,
	}
	return roundtrip.Step{SQL: sqlLockRooms, Args: []any{texts(rooms)}, Scan: func(rows pgx.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		room.Settings.SlowMode, room.N = milliseconds(slow), uint64(max(n, 0))
		if n < 0 {
			*uncounted = append(*uncounted, chat.RoomID(id))
		}
		if room.Seq = uint64(seq); !state.Fresh[chat.RoomID(id)] { //nolint:gosec // counts from 0
			state.Rooms[chat.RoomID(id)] = room
		}
		return nil
	}}
}

// readTried looks for what tries of unknown outcome may have written.
func (a *attempt) readTried(state *rules.State) roundtrip.Step {
	var tried messages.Tried
	for i, positions := range a.tried {
		for _, p := range positions {
			tried.Add(rules.RoomOf(a.commands[i]), p, i)
		}
	}
	return tried.Read(state)
}
