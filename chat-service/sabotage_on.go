//go:build sabotage

package chatservice

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/sabotage"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// sabotaged breaks what the Writer works with as STARLING_SABOTAGE says.
func sabotaged(pool *pgxpool.Pool, store *postgres.Store, publisher usecases.Publisher) (usecases.Store, usecases.Publisher) {
	switch {
	case sabotage.AckBeforeCommit():
		return losingStore{Store: store, lose: sabotage.LoseCommit}, publisher
	case sabotage.NoOutbox():
		return outboxlessStore{Store: store, outbox: store}, losingPublisher{publisher, sabotage.LosePublication}
	case sabotage.EditSkipsChanged():
		return skippingStore{store, pool}, publisher
	}
	return store, publisher
}

// evicting has nobody taken out of rooms when STARLING_SABOTAGE says so.
func evicting(e usecases.Evictor) usecases.Evictor {
	if sabotage.NoEviction() {
		return idleEvictor{}
	}
	return e
}

// reader reads how rooms stand, for inboxes.
type reader = func(context.Context, []chat.RoomID) ([]chat.Activity, error)

// reading has how rooms stand lag when STARLING_SABOTAGE says so.
func reading(read reader) reader {
	if sabotage.LateActivity() {
		return (&laggard{read: read, last: map[chat.RoomID]chat.Activity{}}).activity
	}
	return read
}

// laggard reads how rooms stood when they were read before. It is used by one goroutine.
type laggard struct {
	read reader
	last map[chat.RoomID]chat.Activity
}

func (l *laggard) activity(ctx context.Context, rooms []chat.RoomID) ([]chat.Activity, error) {
	list, err := l.read(ctx, rooms)
	for i, is := range list {
		if was, known := l.last[is.Room]; known {
			list[i] = was
		}
		l.last[is.Room] = is
	}
	return list, err
}

type idleEvictor struct{}

func (idleEvictor) Evict(context.Context, chat.RoomID, []chat.UserID, uint64) {}

// losingStore loses some transactions: it says what they would have written, and writes nothing.
type losingStore struct {
	usecases.Store

	lose func() bool
}

func (s losingStore) Prepare(commands []rules.Command) usecases.Transaction {
	return losingTransaction{s.Store.Prepare(commands), s, commands}
}

type losingTransaction struct {
	usecases.Transaction

	store    losingStore
	commands []rules.Command
}

func (t losingTransaction) Alone(index int) usecases.Transaction {
	return losingTransaction{t.Transaction.Alone(index), t.store, t.commands[index : index+1]}
}

func (t losingTransaction) Commit(ctx context.Context) ([]rules.Outcome, chat.Outgoing, error) {
	if !t.store.lose() {
		return t.Transaction.Commit(ctx)
	}
	state, err := t.look(ctx)
	if err != nil {
		return t.Transaction.Commit(ctx)
	}
	changes, outcomes := rules.Decide(state, t.commands)
	out := chat.Outgoing{ID: uuid.New()}
	for _, e := range changes.Events {
		encoded, err := wire.Encode(e)
		if err != nil {
			return nil, out, err
		}
		out.Events = append(out.Events, encoded)
	}
	return outcomes, out, nil
}

// look reads the state without locking it.
func (t losingTransaction) look(ctx context.Context) (rules.State, error) {
	needs := rules.NeedsOf(t.commands, false)
	state := rules.State{
		At: time.Now().UTC().Truncate(time.Millisecond), Random: rand.Uint64,
		Rooms: map[chat.RoomID]rules.Room{}, Members: map[chat.Membership]rules.Member{}, Fresh: map[chat.RoomID]bool{},
	}
	heads, err := t.store.Heads(ctx, needs.Rooms, "")
	if err != nil {
		return state, err
	}
	for _, room := range needs.Create {
		_, exists := heads[room]
		state.Fresh[room] = !exists
	}
	for room, head := range heads {
		state.Rooms[room] = rules.Room{Seq: head.Seq, Kind: access.Public}
	}
	for _, m := range needs.Members {
		s, name, err := t.store.Standing(ctx, m)
		if err != nil {
			return state, err
		}
		state.Members[m] = rules.Member{Is: s.Member, Name: name, Role: s.Role, BannedUntil: s.BannedUntil, MutedUntil: s.MutedUntil}
	}
	return state, nil
}

// outboxlessStore removes each transaction's row from the outbox before anything is published.
type outboxlessStore struct {
	usecases.Store

	outbox interface {
		Done(ctx context.Context, ids []chat.OutboxID) error
	}
}

func (s outboxlessStore) Prepare(commands []rules.Command) usecases.Transaction {
	return outboxlessTransaction{s.Store.Prepare(commands), s}
}

type outboxlessTransaction struct {
	usecases.Transaction

	store outboxlessStore
}

func (t outboxlessTransaction) Alone(index int) usecases.Transaction {
	return outboxlessTransaction{t.Transaction.Alone(index), t.store}
}

func (t outboxlessTransaction) Commit(ctx context.Context) ([]rules.Outcome, chat.Outgoing, error) {
	outcomes, out, err := t.Transaction.Commit(ctx)
	if err == nil && len(out.Events) > 0 {
		_ = t.store.outbox.Done(ctx, []chat.OutboxID{out.ID}) // seldom left over: the sabotage shows anyway
	}
	return outcomes, out, err
}

// skippingStore has edits change what messages say, and not their versions. The event that tells of an edit is as it should be: who is
// connected sees nothing wrong.
type skippingStore struct {
	usecases.Store

	pool *pgxpool.Pool
}

func (s skippingStore) Prepare(commands []rules.Command) usecases.Transaction {
	return skippingTransaction{s.Store.Prepare(commands), s}
}

type skippingTransaction struct {
	usecases.Transaction

	store skippingStore
}

func (t skippingTransaction) Alone(index int) usecases.Transaction {
	return skippingTransaction{t.Transaction.Alone(index), t.store}
}

// The version that an edit gave is taken away again, unless something else has changed the message meanwhile.
const (
	sqlSkipChanged = `UPDATE messages SET changed = NULL WHERE room_id = $1 AND changed = $2`
	sqlSkipNote    = `DELETE FROM changed_messages WHERE room_id = $1 AND changed = $2`
)

func (t skippingTransaction) Commit(ctx context.Context) ([]rules.Outcome, chat.Outgoing, error) {
	outcomes, out, err := t.Transaction.Commit(ctx)
	if err != nil {
		return outcomes, out, err
	}
	for _, encoded := range out.Events {
		var e eventv1.RoomEvent
		if proto.Unmarshal(encoded.Bytes, &e) != nil || e.GetEmit().GetEvent() != "message:edited" {
			continue
		}
		for _, sql := range []string{sqlSkipChanged, sqlSkipNote} {
			_, _ = t.store.pool.Exec(ctx, sql, string(encoded.Room), int64(encoded.Seq)) // seldom not done: the sabotage shows anyway
		}
	}
	return outcomes, out, err
}

// losingPublisher loses the events of some transactions.
type losingPublisher struct {
	usecases.Publisher

	lose func() bool
}

func (p losingPublisher) Committed(out chat.Outgoing) {
	if !p.lose() {
		p.Publisher.Committed(out)
	}
}
