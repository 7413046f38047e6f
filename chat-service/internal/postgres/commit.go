package postgres

import (
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/messages"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// A commit is two round trips on one connection:
//
//	1  BEGIN · create missing rooms · lock the rooms · read memberships · read what repeats     → rules.Decide
//	2  insert messages, events, memberships · advance the rooms · insert the outbox row · COMMIT
//
// After the lock nobody else changes those rooms, so what rules.Decide counts out in memory is what the database will hold.

const (
	sqlCreateRooms = `
		INSERT INTO rooms (room_id, name) SELECT id, id FROM unnest($1::text[]) AS id ORDER BY id
		ON CONFLICT (room_id) DO NOTHING RETURNING room_id`

	sqlLockRooms = `
		SELECT room_id, last_seq, coalesce(message_count, -1), owner_id, kind, send_role, slow_mode_ms, max_members, archived_at IS NOT NULL FROM rooms WHERE room_id = ANY($1::text[]) ORDER BY room_id FOR NO KEY UPDATE`

	sqlInsertEvents = `
		INSERT INTO room_events (room_id, seq, payload)
		SELECT room_id, seq, payload FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS e (room_id, seq, payload)`

	sqlInsertShown = `INSERT INTO room_events (room_id, seq, payload, message_seq) VALUES ($1, $2, $3, $4)`

	sqlDeleteMembers = `
		DELETE FROM memberships AS m USING unnest($1::text[], $2::text[]) AS p (room_id, user_id)
		WHERE m.room_id = p.room_id AND m.user_id = p.user_id`

	sqlInsertMembers = `
		INSERT INTO memberships (room_id, user_id, user_name, name_version, role, by_token, muted_until, sent_at, joined_seq, joined_at)
		SELECT room_id, user_id, user_name, name_version, role, by_token, muted_until, sent_at, joined_seq,
			clock_timestamp() + ordinal * interval '1 microsecond'
		FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bool[], $7::timestamptz[], $8::timestamptz[], $9::bigint[])
			WITH ORDINALITY AS p (room_id, user_id, user_name, name_version, role, by_token, muted_until, sent_at, joined_seq, ordinal)`

	sqlUnmakeRooms = `DELETE FROM rooms WHERE room_id = ANY($1::text[])`

	sqlAdvanceRooms = `
		UPDATE rooms SET last_seq = a.last_seq, message_count = a.message_count, owner_id = a.owner_id
		FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS a (room_id, last_seq, message_count, owner_id)
		WHERE rooms.room_id = a.room_id`

	// The owner left: the mightiest member follows, among equals the longest, or nobody.
	sqlPassOwnership = `
		UPDATE rooms SET owner_id = coalesce(
			(SELECT user_id FROM memberships AS m WHERE m.room_id = rooms.room_id AND m.role <> 'guest'
			 ORDER BY role = 'owner' DESC, role = 'moderator' DESC, joined_at, user_id LIMIT 1), '')
		WHERE room_id = ANY($1::text[])`

	// The relay leaves the row to the fast path for so long.
	sqlInsertOutbox = `
		INSERT INTO outbox (id, due_at, payload) VALUES ($1, clock_timestamp() + $3 * interval '1 millisecond', $2)`
)

// outboxGrace is how long a new outbox row is left to the fast path.
const outboxGrace = 2 * time.Second

// writing is the second round trip: it makes the changes and commits. It notes in out what goes out after the commit.
func (s *Store) writing(changes *rules.Changes, out *chat.Outgoing, at time.Time) ([]roundtrip.Step, error) {
	id, err := uuid.NewV7() // new rows land on the same pages of the primary key
	if err != nil {
		return nil, err
	}
	sent, events, err := s.eventRows(changes.Events, out)
	if err != nil {
		return nil, err
	}
	told, err := s.logSteps(changes, out)
	if err != nil {
		return nil, err
	}
	out.ID = id
	steps := make([]roundtrip.Step, 0, 8)
	if sent.Some() {
		steps = append(steps, sent.Step(at))
	}
	if e := events; len(e.rooms) > 0 {
		steps = append(steps, roundtrip.Step{SQL: sqlInsertEvents, Args: []any{e.rooms, e.seqs, e.payloads}})
	}
	steps = append(append(steps, events.others...), messages.Changes(changes)...)
	steps = append(steps, membershipSteps(changes)...)
	steps = append(steps, moderationSteps(changes, at)...)
	steps = append(append(append(steps, roomSteps(changes.Rooms)...), ownSteps(changes)...), told...)
	if len(changes.Usage) > 0 {
		steps = append(steps, keepUsage(changes.Usage))
	}
	if len(changes.Answers) > 0 {
		steps = append(steps, answerSteps(changes.Answers)...)
	}
	if len(changes.Unmade) > 0 {
		steps = append(steps, roundtrip.Step{SQL: sqlUnmakeRooms, Args: []any{texts(changes.Unmade)}})
	}
	if len(out.Events) > 0 {
		steps = append(steps,
			roundtrip.Step{SQL: sqlInsertOutbox, Args: []any{[16]byte(id), s.codec.Batch(out.Events), outboxGrace.Milliseconds()}})
	}
	return append(steps, roundtrip.Step{SQL: sqlCommit}), nil
}

// eventRows sorts the events into the two tables of the room log, and encodes each for the outbox.
func (s *Store) eventRows(list []chat.RoomEvent, out *chat.Outgoing) (sent messages.Rows, events eventRows, err error) {
	out.Events = make([]chat.EncodedEvent, len(list))
	sent.Grow(len(list))
	for i := range list {
		e := &list[i]
		if out.Events[i], err = s.codec.Event(*e); err != nil {
			return sent, events, err
		}
		switch f := e.Fact.(type) {
		case chat.MessageSent:
			if f.Message.Extras == nil {
				sent.Add(&f.Message)
			} else {
				events.others = append(events.others, messages.Insert(&f.Message)...)
			}
			continue
		case chat.MessageEdited:
			if err := events.show(s.codec, e, f.Message.Seq); err != nil {
				return sent, events, err
			}
			continue
		}
		events.rooms, events.seqs = append(events.rooms, string(e.Room)), append(events.seqs, int64(e.Seq)) //nolint:gosec // 40 bits
		events.payloads = append(events.payloads, out.Events[i].Bytes)
	}
	return sent, events, nil
}

// membershipSteps deletes before it inserts: who left and came again is in both.
func membershipSteps(changes *rules.Changes) (steps []roundtrip.Step) {
	if n := len(changes.Left); n > 0 {
		rooms, users := make([]string, n), make([]string, n)
		for i, m := range changes.Left {
			rooms[i], users[i] = string(m.Room), string(m.User)
		}
		steps = append(steps, roundtrip.Step{SQL: sqlDeleteMembers, Args: []any{rooms, users}})
	}
	if n := len(changes.Joined); n > 0 {
		rooms, users, names, roles := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		muted, sent, versions, seqs := make([]*time.Time, n), make([]*time.Time, n), make([]int64, n), make([]int64, n)
		byToken := make([]bool, n)
		for i, m := range changes.Joined {
			byToken[i] = m.ByToken
			rooms[i], users[i], roles[i] = string(m.Room), string(m.User), string(m.Role)
			names[i], versions[i] = m.Name.Text, m.Name.Version
			muted[i], sent[i], seqs[i] = timeOrNull(m.MutedUntil), timeOrNull(m.SentAt), int64(m.Seq) //nolint:gosec // 40 bits
		}
		steps = append(steps, roundtrip.Step{SQL: sqlInsertMembers, Args: []any{rooms, users, names, versions, roles, byToken, muted, sent, seqs}})
	}
	return steps
}

func roomSteps(changed []rules.ChangedRoom) []roundtrip.Step {
	if len(changed) == 0 {
		return nil
	}
	rooms, seqs, owners := make([]string, len(changed)), make([]int64, len(changed)), make([]string, len(changed))
	counts := make([]int64, len(changed))
	var inherit []string
	var described detailRows
	for i, r := range changed {
		rooms[i], seqs[i], owners[i] = string(r.ID), int64(r.Seq), string(r.Owner) //nolint:gosec // 40 bits
		counts[i] = int64(r.N)                                                     //nolint:gosec // 40 bits
		if r.Inherit {
			inherit = append(inherit, string(r.ID))
		}
		if r.Details != nil {
			described.add(r.ID, r.Kind, r.Details)
		}
	}
	steps := []roundtrip.Step{{SQL: sqlAdvanceRooms, Args: []any{rooms, seqs, counts, owners}}}
	if len(described.rooms) > 0 {
		steps = append(steps, described.step())
	}
	if len(inherit) > 0 {
		steps = append(steps, roundtrip.Step{SQL: sqlPassOwnership, Args: []any{inherit}})
	}
	return steps
}

// timeOrNull is the reverse of timeOr0.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

type eventRows struct {
	rooms    []string
	seqs     []int64
	payloads [][]byte
	others   []roundtrip.Step // of messages with extras, and of events that show a message
}

// show keeps an event that shows a message. For a release before this one its payload is that of an event without arguments.
func (r *eventRows) show(codec Codec, e *chat.RoomEvent, seq uint64) error {
	encoded, err := codec.Event(chat.RoomEvent{Room: e.Room, Seq: e.Seq})
	r.others = append(r.others, roundtrip.Step{SQL: sqlInsertShown, Args: []any{string(e.Room), int64(e.Seq), encoded.Bytes, int64(seq)}}) //nolint:gosec // 40 bits
	return err
}

// random64 need not be secret: it keeps ids of different rooms apart.
func random64() uint64 { return rand.Uint64() } //nolint:gosec // see above
