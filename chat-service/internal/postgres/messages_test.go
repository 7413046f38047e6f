package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/pg"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// rich is a message with everything that one can have.
func rich(room chat.RoomID, user chat.UserID, content string, to chat.MessageID) rules.Send {
	c := send(room, user, content, "")
	c.Extras = &chat.Extras{Data: []byte(`{"of":"` + content + `"}`), Format: "markdown", Mentioned: []chat.UserID{"bob", "cid"}}
	if to != (chat.MessageID{}) {
		c.Extras.ReplyTo = &chat.Reply{ID: to}
	}
	return c
}

func edit(room chat.RoomID, user chat.UserID, id chat.MessageID, content string) rules.Edit {
	return rules.Edit{Origin: by(room, user), Message: id, Content: &content}
}

func history(t *testing.T, s *postgres.Store, room chat.RoomID, user chat.UserID) []chat.Message {
	t.Helper()
	v, err := s.View(t.Context(), room, user, usecases.Page{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return v.Messages
}

// TestMessageRows: what is told of a message is what is read of it, from every side.
func TestMessageRows(t *testing.T) {
	s := open(t, database(t))
	outcomes, _ := commit(t, s, join("r", "ann"), join("r", "bob"), send("r", "ann", "plain", "id"))
	plain := outcomes[2]
	_, out := commit(t, s, rich("r", "bob", "rich", plain.ID), send("r", "bob", "another", ""))
	list := history(t, s, "r", "ann")
	want := &chat.Extras{
		Data: []byte(`{"of":"rich"}`), Format: "markdown", Mentioned: []chat.UserID{"bob", "cid"},
		ReplyTo: &chat.Reply{ID: plain.ID, Sender: chat.Sender{ID: "ann", Name: "U"}, Preview: "plain"},
	}
	if diff := cmp.Diff(want, list[1].Extras); diff != "" {
		t.Errorf("extras (-want +got):\n%s", diff)
	}
	if list[0].Extras != nil || list[0].N != 1 || list[1].N != 2 || list[2].N != 3 {
		t.Errorf("history %+v, want a plain message and three numbers", list)
	}
	events, _, err := s.Events(t.Context(), "r", 3, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		if !bytes.Equal(e.Bytes, out.Events[i].Bytes) {
			t.Errorf("replay of event %d is\n%q, live it was\n%q", e.Seq, e.Bytes, out.Events[i].Bytes)
		}
	}
	again := repeat(t, s, send("r", "ann", "plain", "id"))
	if again[0].N != 1 || again[0].Seq != plain.Seq {
		t.Errorf("a repeat = %+v, want the first one's numbers", again[0])
	}
	got, err := s.Messages(t.Context(), "r", []uint64{list[1].Seq, 1, 99})
	if diff := cmp.Diff(list[1:2], got); diff != "" || err != nil {
		t.Errorf("Messages: %v (-want +got):\n%s", err, diff)
	}
	rooms, err := s.Rooms(t.Context(), "ann", usecases.RoomsPage{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&list[2], rooms.List[0].Last); diff != "" {
		t.Errorf("the last message of the list (-want +got):\n%s", diff)
	}
}

// TestEditRows: a replay tells what the message is by now, and where changes are asked for it comes once.
func TestEditRows(t *testing.T) {
	s := open(t, database(t)).KeepEdits(true)
	outcomes, _ := commit(t, s, join("r", "ann"), send("r", "ann", "one", ""), send("r", "ann", "two", ""), rich("r", "ann", "three", chat.MessageID{}))
	one, three := outcomes[1], outcomes[3]
	first, _ := commit(t, s, edit("r", "ann", one.ID, "one, edited"))
	second, out := commit(t, s, edit("r", "ann", one.ID, "one, edited twice"), edit("r", "ann", three.ID, "three, edited"))
	if first[0].Seq != 5 || second[0].Seq != 6 || second[1].Seq != 7 {
		t.Fatalf("sequences %d, %d, %d, want 5, 6, 7", first[0].Seq, second[0].Seq, second[1].Seq)
	}
	list := history(t, s, "r", "ann")
	if list[0].Content != "one, edited twice" || list[0].Changed != 6 || list[2].Changed != 7 || string(list[2].Extras.Data) != `{"of":"three"}` {
		t.Errorf("history %+v", list)
	}
	events, _, err := s.Events(t.Context(), "r", 0, 0, 100)
	if err != nil || len(events) != 7 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for _, i := range []int{1, 4, 5} {
		if !bytes.Contains(events[i].Bytes, []byte(`"content":"one, edited twice"`)) || !bytes.Contains(events[i].Bytes, []byte(`"changed":6`)) {
			t.Errorf("replay of event %d is %q, want the message as it is now", events[i].Seq, events[i].Bytes)
		}
	}
	if !bytes.Equal(events[6].Bytes, out.Events[1].Bytes) {
		t.Errorf("replay of event 7 is\n%q, live it was\n%q", events[6].Bytes, out.Events[1].Bytes)
	}
	for _, test := range []struct {
		since uint64
		limit int
		want  usecases.Changes
	}{
		{0, 10, usecases.Changes{Seqs: []uint64{3, 2, 4}, Versions: []uint64{3, 6, 7}, UpTo: 7}},
		{0, 2, usecases.Changes{Seqs: []uint64{3, 2}, Versions: []uint64{3, 6}, UpTo: 6, HasMore: true}},
		{6, 2, usecases.Changes{Seqs: []uint64{4}, Versions: []uint64{7}, UpTo: 7}},
		{7, 2, usecases.Changes{UpTo: 7}},
	} {
		got, err := s.Changes(t.Context(), "r", test.since, test.limit)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("Changes(%d, %d): %v (-want +got):\n%s", test.since, test.limit, err, diff)
		}
	}
	former, err := s.Former(t.Context(), "r", one.Seq, 10)
	if err != nil || len(former) != 2 || former[0].Content != "one" || former[0].Version != 2 || former[1].Content != "one, edited" || former[1].Version != 5 {
		t.Errorf("Former = %+v, %v", former, err)
	}
}

// everywhere looks for a string in all tables of the database, and says where it is.
func everywhere(t *testing.T, cfg pg.Config, secret string) (where []string) {
	t.Helper()
	pool, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	rows, err := pool.Query(t.Context(), `SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 20 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	for _, table := range tables {
		// bytea is shown in hexadecimal digits
		var n int
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM `+table+` AS t WHERE t::text LIKE '%' || $1 || '%' OR t::text LIKE '%' || $2 || '%'`,
			secret, fmt.Sprintf("%x", secret)).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			where = append(where, table)
		}
	}
	return where
}

// TestNothingIsLeft of what a deleted message said: no row has it, and nothing that is read of the room.
func TestNothingIsLeft(t *testing.T) {
	const secret = "sEcReT-4711"
	cfg := database(t)
	s := open(t, cfg).KeepEdits(true)
	outcomes, _ := commit(t, s, join("r", "ann"), join("r", "bob"), rich("r", "ann", secret, chat.MessageID{}))
	id := outcomes[2].ID
	quoted, _ := commit(t, s, rich("r", "bob", "answer", id))
	commit(t, s, edit("r", "ann", id, secret+" edited"))
	commit(t, s, edit("r", "ann", id, secret+" edited again"))
	for _, table := range []string{".messages", "outbox", "replies", "message_edits"} {
		if !strings.Contains(strings.Join(everywhere(t, cfg, secret), " "), table) {
			t.Fatalf("the string is in %v, want it in %s as well before the deletion", everywhere(t, cfg, secret), table)
		}
	}
	gone, out := commit(t, s, rules.DeleteMessage{Origin: by("r", "ann"), Message: id})
	if where := everywhere(t, cfg, secret); len(where) > 0 {
		t.Errorf("the string is still in %v", where)
	}
	events, _, err := s.Events(t.Context(), "r", 0, 0, 100)
	if err != nil || len(events) != 7 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for _, e := range append(events, out.Events...) {
		if bytes.Contains(e.Bytes, []byte(secret)) {
			t.Errorf("event %d has the string: %q", e.Seq, e.Bytes)
		}
		var event eventv1.RoomEvent
		if err := proto.Unmarshal(e.Bytes, &event); err != nil || event.GetSeq() != e.Seq || event.GetEmit() == nil {
			t.Errorf("event %d is %v, %v", e.Seq, &event, err)
		}
	}
	list := history(t, s, "r", "bob")
	if list[0].Content != "" || !list[0].Deleted() || list[0].Changed != gone[0].Seq || list[0].Extras.DeletedBy != "ann" || list[0].Extras.Data != nil {
		t.Errorf("the tombstone is %+v, %+v", list[0], list[0].Extras)
	}
	if diff := cmp.Diff(&chat.Reply{ID: id, Sender: chat.Sender{ID: "ann", Name: "U"}}, list[1].Extras.ReplyTo); diff != "" || list[1].Seq != quoted[0].Seq {
		t.Errorf("who answered shows (-want +got):\n%s", diff)
	}
	if former, err := s.Former(t.Context(), "r", chat.SeqOf(id), 10); len(former) > 0 || err != nil {
		t.Errorf("Former = %v, %v", former, err)
	}
	// A repeat of what was sent is still a repeat.
	commit(t, s, send("r", "ann", secret, "id"))
	twice := repeat(t, s, send("r", "ann", secret, "id"))
	commit(t, s, rules.DeleteMessage{Origin: by("r", "ann"), Message: twice[0].ID})
	if third := repeat(t, s, send("r", "ann", secret, "id")); third[0].ID != twice[0].ID {
		t.Errorf("a repeat of a deleted message is %v, want %v", third[0].ID, twice[0].ID)
	}
	if where := everywhere(t, cfg, secret); len(where) > 0 {
		t.Errorf("the string is back in %v", where)
	}
}

// TestErasures: a room is due at once, again after a while, and for a while only.
func TestErasures(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	outcomes, _ := commit(t, s, join("r", "ann"), send("r", "ann", "x", ""))
	due := func(want ...chat.RoomID) {
		t.Helper()
		got, err := s.Erasures(t.Context(), 10)
		if !slices.Equal(want, got) || err != nil {
			t.Errorf("Erasures = %q, %v, want %q", got, err, want)
		}
	}
	age := func(by string) {
		t.Helper()
		execute(t, cfg, `UPDATE erasures SET since = since - $1::interval, due_at = due_at - $1::interval`, by)
	}
	due()
	commit(t, s, rules.DeleteMessage{Origin: by("r", "ann"), Message: outcomes[1].ID})
	due("r")
	due()
	for _, after := range []string{"6 seconds", "15 seconds"} {
		if err := s.Erased(t.Context(), []chat.RoomID{"r"}); err != nil {
			t.Fatal(err)
		}
		age(after)
		due("r")
	}
	if err := s.Erased(t.Context(), []chat.RoomID{"r"}); err != nil {
		t.Fatal(err)
	}
	age("1 hour")
	due()
}

// repeat commits a command that a unique index takes for the repeat of another one.
func repeat(t *testing.T, s *postgres.Store, command rules.Command) []rules.Outcome {
	t.Helper()
	tx := s.Prepare([]rules.Command{command})
	if _, _, err := tx.Commit(t.Context()); !errors.Is(err, usecases.ErrConflict) {
		t.Fatalf("Commit of a repeat: %v, want a conflict", err)
	}
	outcomes, _, err := tx.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

func execute(t *testing.T, cfg pg.Config, sql string, args ...any) {
	t.Helper()
	pool, err := pg.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// TestNumbersOfOlderReleases: a release before there were such numbers writes beside this one; they go on, and never back.
func TestNumbersOfOlderReleases(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	commit(t, s, join("r", "ann"), join("r", "bob"), send("r", "ann", "one", ""))
	commit(t, s, join("r", "dan"))
	execute(t, cfg, `UPDATE rooms SET message_count = NULL`)
	outcomes, _ := commit(t, s, send("r", "ann", "two", ""))
	if outcomes[0].N != 4 {
		t.Errorf("n = %d behind a message with sequence 3 and without a number, want 4", outcomes[0].N)
	}
	if outcomes, _ = commit(t, s, join("r", "cid"), send("r", "ann", "three", "")); outcomes[1].N != 5 || outcomes[1].Seq != 7 {
		t.Errorf("n = %d, seq %d, want 5 and 7", outcomes[1].N, outcomes[1].Seq)
	}
}

// TestReactionRows: the counts with a message are those of the rows, under racing replicas too, and nothing of them outlives the message.
func TestReactionRows(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	outcomes, _ := commit(t, s, join("r", "ann"), send("r", "ann", "x", ""), send("r", "ann", "y", ""))
	id, other := outcomes[1].ID, outcomes[2].ID
	react := func(user chat.UserID, of chat.MessageID, key string, off bool) rules.React {
		return rules.React{Origin: by("r", user), Message: of, Key: key, Off: off}
	}
	const users = 40
	replicas := []*usecases.Writer{writer(t, open(t, cfg), nowhere{}), writer(t, open(t, cfg), nowhere{})}
	var all sync.WaitGroup
	for i := range users {
		all.Go(func() {
			user := chat.UserID(fmt.Sprint("user ", i))
			for _, c := range []rules.Command{join("r", user), react(user, id, "a", false), react(user, id, "b", false), react(user, id, "a", false), react(user, id, "b", i%2 == 0)} {
				if _, err := replicas[i%2].Do(context.Background(), c); err != nil {
					t.Errorf("%s: %v", user, err)
				}
			}
		})
	}
	all.Wait()
	commit(t, s, react("ann", other, "c", false), react("ann", other, "c", true), react("ann", other, "d", false), rules.Pin{Origin: by("r", "ann"), Message: id}, rules.Pin{Origin: by("r", "ann"), Message: other})
	list := history(t, s, "r", "ann")
	got := map[string]int{}
	for _, c := range list[0].Extras.Reactions {
		got[c.Key] = c.N
	}
	if diff := cmp.Diff(map[string]int{"a": users, "b": users / 2}, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	mine, err := s.Mine(t.Context(), chat.Membership{Room: "r", User: "user 1"}, []uint64{list[0].Seq, list[1].Seq})
	if diff := cmp.Diff(map[uint64][]string{list[0].Seq: {"a", "b"}}, mine); diff != "" || err != nil {
		t.Errorf("Mine: %v (-want +got):\n%s", err, diff)
	}
	if mine, _ = s.Mine(t.Context(), chat.Membership{Room: "r", User: "ann"}, []uint64{list[1].Seq}); !cmp.Equal(mine, map[uint64][]string{list[1].Seq: {"d"}}) {
		t.Errorf("ann's are %v", mine)
	}
	pins, err := s.Pins(t.Context(), "r", 0, 10)
	if err != nil || len(pins) != 2 || pins[0].Extras.PinnedAt.IsZero() || pins[0].ID != id {
		t.Errorf("Pins = %+v, %v", pins, err)
	}
	seqs(t, s, "r")
	commit(t, s, rules.Pin{Origin: by("r", "ann"), Message: other, Off: true}, rules.DeleteMessage{Origin: by("r", "ann"), Message: id})
	if pins, _ = s.Pins(t.Context(), "r", 0, 10); len(pins) != 0 {
		t.Errorf("Pins = %+v in the end", pins)
	}
	if mine, _ = s.Mine(t.Context(), chat.Membership{Room: "r", User: "user 1"}, []uint64{list[0].Seq}); len(mine) != 0 {
		t.Errorf("of a deleted message %v is left", mine)
	}
	if last := history(t, s, "r", "ann")[0].Extras; last.Reactions != nil || !last.PinnedAt.IsZero() {
		t.Errorf("the tombstone has %+v", last)
	}
}

// TestRestOfTheRowGoesOut: of an outbox row only what tells of a deleted message is withheld, and a row that tells of nothing else is gone.
func TestRestOfTheRowGoesOut(t *testing.T) {
	const secret = "sEcReT-4712"
	cfg := database(t)
	s := open(t, cfg)
	outcomes, out := commit(t, s, join("r", "ann"), rich("r", "ann", secret, chat.MessageID{}), rich("r", "ann", "kept", chat.MessageID{}), join("other", "bob"))
	id := outcomes[1].ID
	_, alone := commit(t, s, edit("r", "ann", id, secret+" edited"))
	_, deletion := commit(t, s, rules.DeleteMessage{Origin: by("r", "ann"), Message: id})
	if where := everywhere(t, cfg, secret); len(where) > 0 {
		t.Errorf("the string is still in %v", where)
	}
	pool, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), `UPDATE outbox SET due_at = clock_timestamp()`); err != nil {
		t.Fatal(err)
	}
	claimed, err := s.Claim(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[chat.OutboxID][]chat.EncodedEvent{}
	for _, row := range claimed {
		rows[row.ID] = row.Events
	}
	want := slices.DeleteFunc(slices.Clone(out.Events), func(e chat.EncodedEvent) bool { return bytes.Contains(e.Bytes, []byte(id.String())) })
	if len(want) != len(out.Events)-1 {
		t.Fatalf("%d of %d events tell of the message", len(out.Events)-len(want), len(out.Events))
	}
	if diff := cmp.Diff(want, rows[out.ID]); diff != "" {
		t.Errorf("what is left of the row (-want +got):\n%s", diff)
	}
	if _, there := rows[alone.ID]; there || len(rows[deletion.ID]) == 0 {
		t.Errorf("the row of the edit is there: %v; the deletion has %d events", there, len(rows[deletion.ID]))
	}
}
