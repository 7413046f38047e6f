package rules_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault"
)

// said is a message of bob in room r, which ann owns, as the state has it.
func said(s *rules.State, seq uint64, content string) chat.Message {
	m := chat.Message{
		ID: chat.NewMessageID(s.At.Add(-time.Minute), seq, 3), Room: "r", Seq: seq, N: seq, Sender: chat.Sender{ID: "bob", Name: "Bob"},
		Content: content, Type: "text", CreatedAt: s.At.Add(-time.Minute),
	}
	if s.Messages == nil {
		s.Messages = map[chat.MessageRef]chat.Message{}
	}
	s.Messages[chat.MessageRef{Room: "r", Seq: seq}] = m
	return m
}

func hall() rules.State { return rulestest.World{"r": {"ann", "bob", "cid"}}.State() }

func edit(user chat.UserID, m chat.Message, content string) rules.Edit {
	return rules.Edit{Origin: rulestest.By(user), Message: m.ID, Content: &content}
}

func remove(user chat.UserID, m chat.Message) rules.DeleteMessage {
	return rules.DeleteMessage{Origin: rulestest.By(user), Message: m.ID}
}

func TestEdit(t *testing.T) {
	state := hall()
	m, other := said(&state, 5, "first"), said(&state, 6, "other")
	ifChanged := edit("bob", m, "third")
	ifChanged.IfChanged = 11
	stale := edit("bob", m, "never")
	stale.IfChanged = 5
	late := edit("bob", other, "never")
	late.Window = 59 * time.Second
	moderator := edit("ann", other, "by ann")
	moderator.Window = time.Second
	wrongID := edit("bob", m, "never")
	wrongID.Message = chat.NewMessageID(state.At, 5, 99)
	all := edit("bob", m, "third")
	all.Mentions = &rules.Mentions{Room: true}
	state.KeepEdits = true
	changes, outcomes := rules.Decide(state, []rules.Command{
		edit("cid", m, "never"), edit("eve", m, "never"), edit("bob", m, "second"), edit("bob", m, "second"), stale, ifChanged, late, moderator, wrongID, all,
	})
	want := []string{"not_author", "forbidden", "done", "-", "changed", "done", "edit_window", "done", "not_found", "mention_not_allowed"}
	if diff := cmp.Diff(want, reasons(outcomes)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if got := []uint64{outcomes[2].Seq, outcomes[3].Seq, outcomes[5].Seq, outcomes[7].Seq}; !cmp.Equal(got, []uint64{11, 11, 12, 13}) {
		t.Errorf("sequences %v, want 11, 11, 12, 13", got)
	}
	type state1 struct {
		Seq, Changed uint64
		Content      string
	}
	var told, stored []state1
	for _, e := range changes.Events {
		f, ok := e.Fact.(chat.MessageEdited)
		if !ok || e.ExceptSocket != "" {
			t.Errorf("event %+v, want an edit that everybody is told", e)
			continue
		}
		told = append(told, state1{e.Seq, f.Message.Changed, f.Message.Content})
		if !f.Message.Extras.EditedAt.Equal(state.At) {
			t.Errorf("edited at %v, want %v", f.Message.Extras.EditedAt, state.At)
		}
	}
	var former []string
	for _, c := range changes.Messages {
		stored = append(stored, state1{c.Seq, c.Changed, c.Content})
		for _, f := range c.Former {
			former = append(former, f.Content)
		}
	}
	if diff := cmp.Diff([]state1{{11, 11, "second"}, {12, 12, "third"}, {13, 13, "by ann"}}, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]state1{{5, 12, "third"}, {6, 13, "by ann"}}, stored); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"first", "second", "other"}, former); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if len(changes.Audit) != 1 || changes.Audit[0].Act != "edit-message" || changes.Audit[0].User != "bob" || changes.Audit[0].By != "ann" {
		t.Errorf("audit %+v, want the moderator's act", changes.Audit)
	}
	if changes.Rooms[0].N != 0 {
		t.Errorf("n = %d, want it as it was: an edit is no message", changes.Rooms[0].N)
	}
}

// TestEditAfterAnUnknownOutcome: what may have been done is what was asked for, whatever version it makes.
func TestEditAfterAnUnknownOutcome(t *testing.T) {
	state := hall()
	m := said(&state, 5, "second")
	m.Changed = 9
	state.Messages[chat.MessageRef{Room: "r", Seq: 5}] = m
	again := edit("bob", m, "second")
	again.IfChanged = 5
	for _, tried := range []bool{false, true} {
		state.Again = tried
		_, outcomes := rules.Decide(state, []rules.Command{again})
		if ok := outcomes[0].Err == nil; ok != tried || tried && outcomes[0].Seq != 9 {
			t.Errorf("after a try %v: %+v", tried, outcomes[0])
		}
	}
}

func TestMayEdit(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*rules.State)
		want   []string // edit by bob, edit by ann, delete by bob, delete by ann
	}{
		{"muted", func(s *rules.State) { member(s, "bob", func(m *rules.Member) { m.MutedUntil = access.Forever() }) }, []string{"muted", "done", "done", "-"}},
		{"banned", func(s *rules.State) {
			member(s, "bob", func(m *rules.Member) { m.Is, m.BannedUntil = false, access.Forever() })
		}, []string{"banned", "done", "banned", "done"}},
		{"gone", func(s *rules.State) { member(s, "bob", func(m *rules.Member) { m.Is = false }) }, []string{"forbidden", "done", "forbidden", "done"}},
		{"archived", func(s *rules.State) { room(s, func(r *rules.Room) { r.Archived = true }) }, []string{"archived", "archived", "done", "-"}},
		{"only moderators speak", func(s *rules.State) { room(s, func(r *rules.Room) { r.Settings.Send = access.RoleModerator }) }, []string{"not_allowed", "done", "done", "-"}},
		{"no room", func(s *rules.State) { delete(s.Rooms, "r") }, []string{"not_found", "not_found", "not_found", "not_found"}},
	} {
		state := hall()
		m := said(&state, 5, "x")
		test.change(&state)
		_, outcomes := rules.Decide(state, []rules.Command{edit("bob", m, "y"), edit("ann", m, "z"), remove("bob", m), remove("ann", m)})
		if diff := cmp.Diff(test.want, reasons(outcomes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func member(s *rules.State, user chat.UserID, change func(*rules.Member)) {
	m := s.Members[chat.Membership{Room: "r", User: user}]
	change(&m)
	s.Members[chat.Membership{Room: "r", User: user}] = m
}

func room(s *rules.State, change func(*rules.Room)) {
	r := s.Rooms["r"]
	change(&r)
	s.Rooms["r"] = r
}

// TestDeleteMessage: nothing that it said is in what a batch stores or tells, whatever the batch did before.
func TestDeleteMessage(t *testing.T) {
	const secret = "SECRET"
	state := hall()
	state.KeepEdits = true
	m := said(&state, 5, secret+" first")
	m.Extras = &chat.Extras{Data: []byte(`{"a":"` + secret + `"}`), Mentioned: []chat.UserID{secret}}
	state.Messages[chat.MessageRef{Room: "r", Seq: 5}] = m
	answer := rulestest.Send("cid", "")
	answer.Extras = &chat.Extras{ReplyTo: &chat.Reply{ID: m.ID}}
	changes, outcomes := rules.Decide(state, []rules.Command{
		answer, edit("bob", m, secret+" second"), remove("cid", m), remove("bob", m), remove("bob", m), remove("ann", m), edit("bob", m, "third"), answer,
	})
	want := []string{"done", "done", "not_author", "done", "-", "-", "deleted", "reply_gone"}
	if diff := cmp.Diff(want, reasons(outcomes)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if outcomes[4].Seq != 13 || outcomes[5].Seq != 13 {
		t.Errorf("a second deletion has the sequences %d and %d, want that of the first", outcomes[4].Seq, outcomes[5].Seq)
	}
	if shown := cmp.Diff(rules.Changes{}, changes); strings.Contains(shown, secret) {
		t.Errorf("what the message said is in\n%s", shown)
	}
	got := changes.Messages[0]
	tombstone := chat.Message{
		ID: m.ID, Room: "r", Seq: 5, N: 5, Sender: m.Sender, Type: "text", CreatedAt: m.CreatedAt, Changed: 13,
		Extras: &chat.Extras{DeletedAt: state.At, DeletedBy: "bob"},
	}
	if diff := cmp.Diff(tombstone, got.Message); diff != "" || !got.Gone || len(changes.Messages) != 1 {
		t.Errorf("stored %d messages, gone %v (-want +got):\n%s", len(changes.Messages), got.Gone, diff)
	}
	last := changes.Events[len(changes.Events)-1]
	if diff := cmp.Diff(chat.RoomEvent{Room: "r", Seq: 13, Fact: chat.MessageDeleted{Message: m.ID, By: "bob", At: state.At}}, last); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if len(changes.Audit) != 0 {
		t.Errorf("audit %v, want none of an author", changes.Audit)
	}
}

func TestReply(t *testing.T) {
	state := hall()
	m := said(&state, 5, strings.Repeat("ä", 139)+"\n"+"tail")
	gone := said(&state, 6, "")
	gone.Extras = &chat.Extras{DeletedAt: state.At}
	state.Messages[chat.MessageRef{Room: "r", Seq: 6}] = gone
	answer := func(id chat.MessageID) rules.Command {
		c := rulestest.Send("cid", "")
		c.Extras = &chat.Extras{ReplyTo: &chat.Reply{ID: id}}
		return c
	}
	all := rulestest.Send("cid", "")
	all.Extras = &chat.Extras{MentionsRoom: true}
	byOwner := rulestest.Send("ann", "")
	byOwner.Extras = all.Extras
	commands := []rules.Command{answer(m.ID), answer(gone.ID), answer(chat.NewMessageID(state.At, 7, 1)), all, byOwner}
	if refs := rules.NeedsOf(commands, false).Messages; !cmp.Equal(refs, []chat.MessageRef{{Room: "r", Seq: 5}, {Room: "r", Seq: 6}, {Room: "r", Seq: 7}}) {
		t.Errorf("needs messages %v", refs)
	}
	changes, outcomes := rules.Decide(state, commands)
	if diff := cmp.Diff([]string{"done", "reply_gone", "reply_gone", "mention_not_allowed", "done"}, reasons(outcomes)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	got := changes.Events[0].Fact.(chat.MessageSent).Message.Extras.ReplyTo //nolint:forcetypeassert // a test
	if diff := cmp.Diff(&chat.Reply{ID: m.ID, Sender: m.Sender, Preview: strings.Repeat("ä", 139) + " "}, got); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
	if outcomes[0].N != 1 || outcomes[4].N != 2 || changes.Rooms[0].N != 2 {
		t.Errorf("n = %d, %d and %d of the room, want 1, 2 and 2", outcomes[0].N, outcomes[4].N, changes.Rooms[0].N)
	}
	if fault.KindOf(outcomes[1].Err) != fault.NotFound {
		t.Errorf("a reply to nothing is %v", outcomes[1].Err)
	}
}
