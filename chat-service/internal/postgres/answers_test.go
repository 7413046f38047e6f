package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// keyed is a request of a user with a key, which names a room, or none.
func keyed(named chat.RoomID, key string, asked any, commands ...rules.Command) rules.Keyed {
	return rules.Keyed{Key: rules.KeyOf(named, by(named, "ann"), key), Asked: rules.DigestOf(asked), Commands: commands}
}

func create(room chat.RoomID) rules.Create {
	return rules.Create{Origin: by(room, "ann"), New: chat.NewRoom{Kind: access.Private}}
}

// admin is a connection to the database, beside the stores.
func admin(t *testing.T, cfg pg.Config) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func answers(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM chat.answers`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAnswersAreKept: another replica gives the answer that the first one gave, with all that is in it.
func TestAnswersAreKept(t *testing.T) {
	cfg := database(t)
	s, other := open(t, cfg), open(t, cfg)
	commit(t, s, create("r"), rules.Restrict{Origin: by("r", "ann"), Who: "eve", Until: access.Forever()})
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	invite := rules.Invite{Origin: by("r", "ann"), Hash: chat.HashInvite("x"), Salt: chat.InviteSalt{1, 2, 3}, Role: access.RoleMember, Uses: 1, Until: until}
	add := keyed("r", "add", "add", rules.Add{Origin: by("r", "ann"), Who: rules.Invited{User: "bob"}}, rules.Add{Origin: by("r", "ann"), Who: rules.Invited{User: "eve"}})
	add.Each = true
	for what, request := range map[string]rules.Keyed{
		"create":  keyed("", "create", "create", create("made")),
		"update":  keyed("r", "update", "update", rules.Update{Origin: by("r", "ann"), Patch: chat.Patch{Topic: new("t")}}),
		"invite":  keyed("r", "invite", "invite", invite),
		"nothing": keyed("r", "nothing", "nothing", rules.Restrict{Origin: by("r", "ann"), Who: "dan"}),
		"add":     add,
	} {
		first, out := commit(t, s, request)
		if first[0].Err != nil || (what == "nothing") != (len(out.Events) == 0 && !first[0].Changed) {
			t.Errorf("%s = %+v, %d events", what, first[0], len(out.Events))
		}
		again, out := commit(t, other, request)
		if len(out.Events) > 0 {
			t.Errorf("%s again tells %d events", what, len(out.Events))
		}
		if diff := cmp.Diff(short(first[0]), short(again[0])); diff != "" {
			t.Errorf("%s again (-want +got):\n%s", what, diff)
		}
		answer, ok, err := other.Answer(t.Context(), request.Key)
		if err != nil || !ok {
			t.Fatalf("Answer(%s) = %v, %v", what, ok, err)
		}
		if diff := cmp.Diff(short(first[0]), short(request.Again(answer))); diff != "" {
			t.Errorf("answer of %s (-want +got):\n%s", what, diff)
		}
		request.Asked = rules.DigestOf("something else")
		if outcomes, _ := commit(t, s, request); faulttest.Word(outcomes[0].Err) != "invalid" {
			t.Errorf("something else with the key of %s = %+v, want invalid", what, outcomes[0])
		}
	}
	if _, ok, err := s.Answer(t.Context(), rules.KeyOf("r", by("r", "ann"), "unknown")); ok || err != nil {
		t.Errorf("Answer of a key that nobody gave = %v, %v", ok, err)
	}
}

// short is what of an outcome an answer tells.
func short(o rules.Outcome) (list []string) {
	parts := []rules.Outcome{o}
	if o.Details != nil && len(o.Details.Parts) > 0 {
		parts = o.Details.Parts
	}
	for _, p := range parts {
		var d rules.Details
		if p.Details != nil {
			d = *p.Details
		}
		reason := ""
		if f, ok := p.Err.(*fault.Error); ok { //nolint:errorlint // as Decide gives it
			reason = string(f.Reason)
		}
		list = append(list, fmt.Sprint(p.Seq, p.Version, p.Changed, reason, d.Room, d.Until.UnixMilli(), d.Salt))
	}
	return list
}

// TestRepeatsAtOnce: many who ask for the same at the same time, through two replicas, get one room, and the same answer.
func TestRepeatsAtOnce(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	writers := []interface {
		Do(context.Context, rules.Command) (rules.Outcome, error)
	}{writer(t, open(t, cfg), nowhere{}), writer(t, open(t, cfg), nowhere{})}
	const tries = 8
	for i := range 5 {
		outcomes := make([]rules.Outcome, tries)
		var all sync.WaitGroup
		for try := range tries {
			all.Go(func() {
				request := keyed("", fmt.Sprint("k", i), "room", create(chat.RoomID(fmt.Sprint("r", i, "-", try)))) // each with an id of its own
				var err error
				for range 10 { // a busy machine may refuse; who has a key asks again
					outcomes[try], err = writers[try%2].Do(context.Background(), request)
					if kind := fault.KindOf(err); kind != fault.Unavailable && kind != fault.Timeout {
						break
					}
				}
				if err != nil {
					t.Errorf("create: %v", err)
				}
			})
		}
		all.Wait()
		for _, o := range outcomes {
			if o.Details == nil || outcomes[0].Details == nil || o.Details.Room != outcomes[0].Details.Room || !o.CreatedAt.Equal(outcomes[0].CreatedAt) {
				t.Errorf("answers differ: %+v and %+v", o, outcomes[0])
			}
		}
	}
	conn := admin(t, cfg)
	var rooms int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM chat.rooms`).Scan(&rooms); err != nil || rooms != 5 {
		t.Errorf("%d rooms, %v, want 5", rooms, err)
	}
	if heads, err := s.LogHeads(t.Context(), []chat.UserID{"ann"}); err != nil || heads["ann"] != 5 {
		t.Errorf("ann was told %d times, %v, want 5", heads["ann"], err)
	}
}

// TestKeyedAfterAnUnknownOutcome: a request whose commit got lost is found by its key, and is answered as if nothing had been lost.
func TestKeyedAfterAnUnknownOutcome(t *testing.T) {
	cut, cfg := newCutter(t, database(t))
	s := open(t, cfg)
	w := writer(t, s, nowhere{})
	cut.set(2)
	o, err := w.Do(t.Context(), keyed("", "k", "room", create("r")))
	if err != nil || o.Details.Room != "r" || !o.Changed {
		t.Fatalf("create = %+v, %v", o, err)
	}
	cut.set(1)
	o, err = w.Do(t.Context(), keyed("r", "k", "update", rules.Update{Origin: by("r", "ann"), Patch: chat.Patch{Topic: new("t")}, IfVersion: 1}))
	if err != nil || o.Version != 2 || !o.Changed {
		t.Errorf("update = %+v, %v, want version 2", o, err)
	}
	if head := seqs(t, s, "r"); head != 2 || cut.left() != 0 {
		t.Errorf("head = %d, want 2; %d commits were not lost", head, cut.left())
	}
}

// TestAnswersEnd: after their time answers are as if they had never been, whether they are deleted by then or not; and of each user only the
// last ones are kept, of other backends all.
func TestAnswersEnd(t *testing.T) {
	cfg := database(t)
	s, conn := open(t, cfg), admin(t, cfg)
	age := func(where string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), `UPDATE chat.answers SET at = at - interval '24 hours' `+where); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, s, create("r"))
	mute := rules.Restrict{Origin: by("r", "ann"), Who: "bob", Mute: true, Until: time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)}
	unmute := mute
	unmute.Until = time.Time{}
	request := keyed("r", "k", mute, mute)
	commit(t, s, request, unmute)
	age("")
	if _, ok, err := s.Answer(t.Context(), request.Key); ok || err != nil {
		t.Errorf("Answer after its time = %v, %v", ok, err)
	}
	commit(t, s, request)
	if m, _, err := s.Standing(t.Context(), chat.Membership{Room: "r", User: "bob"}); err != nil || !m.MutedUntil.Equal(mute.Until) {
		t.Errorf("after the key's time the request did nothing: %+v, %v", m, err)
	}

	commit(t, s, keyed("r", "old", unmute, unmute))
	age("WHERE key <> '\\x" + fmt.Sprintf("%x", request.Key) + "'")
	if n, err := s.ExpireAnswers(t.Context()); n != 1 || err != nil || answers(t, conn) != 1 {
		t.Errorf("ExpireAnswers = %d, %v, want 1; %d are left, want 1", n, err, answers(t, conn))
	}

	_, err := conn.Exec(t.Context(), `
		INSERT INTO chat.answers (key, user_id, asked, at, room_id, version, salt, seqs, changed, reasons)
		SELECT sha256((u || i)::bytea), u, '', clock_timestamp() - i * interval '1 second', '', 0, '', '{}', '{}', '{}'
		FROM unnest('{ann,bob,""}'::text[]) AS u, generate_series(1, $1) AS i`, rules.KeysKept+50)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, keyed("r", "one more", unmute, unmute))
	backend := unmute
	backend.Key = "shop"
	commit(t, s, rules.Keyed{Key: rules.KeyOf("r", backend.Origin, "k"), Asked: rules.DigestOf(backend), Commands: []rules.Command{backend}})
	for user, want := range map[string]int{"ann": rules.KeysKept, "bob": rules.KeysKept + 50, "": rules.KeysKept + 51} {
		var n int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM chat.answers WHERE user_id = $1`, user).Scan(&n); err != nil || n != want {
			t.Errorf("%d answers of %q, %v, want %d", n, user, err, want)
		}
	}
	if _, ok, err := s.Answer(t.Context(), rules.KeyOf("r", by("r", "ann"), "one more")); !ok || err != nil {
		t.Errorf("the newest answer is gone: %v", err)
	}
}
