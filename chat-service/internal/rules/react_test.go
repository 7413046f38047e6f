package rules_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
)

func react(user chat.UserID, m chat.Message, key string, off bool) rules.React {
	return rules.React{Origin: rulestest.By(user), Message: m.ID, Key: key, Off: off}
}

// TestReact: once a user and key, what is done to one message in a row is one fact, and the counts are exact.
func TestReact(t *testing.T) {
	state := hall()
	m, other, gone := said(&state, 5, "x"), said(&state, 6, "y"), said(&state, 7, "")
	gone.Extras = &chat.Extras{DeletedAt: state.At}
	state.Messages[chat.MessageRef{Room: "r", Seq: 7}] = gone
	m.Extras = &chat.Extras{Reactions: message.Counts{{Key: "👍", N: 1}}}
	state.Messages[chat.MessageRef{Room: "r", Seq: 5}] = m
	cid := rules.Reactor{MessageRef: chat.MessageRef{Room: "r", Seq: 5}, User: "cid"}
	state.Reacted = map[rules.Reactor][]string{cid: {"👍"}}
	room(&state, func(r *rules.Room) { r.Settings.Send = access.RoleOwner }) // reacting is not saying something
	commands := []rules.Command{
		rules.Reactions{Origin: rules.Origin{Room: "r"}, Each: []rules.React{
			react("ann", m, "👍", false), react("ann", m, "👍", false), react("cid", m, "👍", false), react("eve", m, "👍", false),
		}},
		react("cid", other, "👍", false), react("cid", m, "👍", true), react("cid", m, "👍", true), react("bob", m, "❤", false),
		edit("ann", m, "z"), react("bob", m, "👍", false), react("bob", gone, "👍", false),
	}
	if needs := rules.NeedsOf(commands, false).Reactors; len(needs) != 6 || needs[0].User != "ann" {
		t.Errorf("needs reactors %v", needs)
	}
	changes, outcomes := rules.Decide(state, commands)
	flat := append(append([]rules.Outcome(nil), outcomes[0].Details.Parts...), outcomes[1:]...)
	if diff := cmp.Diff([]string{"done", "-", "-", "forbidden", "done", "done", "-", "done", "done", "done", "deleted"}, reasons(flat)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&rules.Details{Reactions: message.Counts{{Key: "👍", N: 1}, {Key: "❤", N: 1}}, Mine: []string{"❤"}}, flat[7].Details); diff != "" || flat[7].Seq != 11 {
		t.Errorf("bob's answer has seq %d (-want +got):\n%s", flat[7].Seq, diff)
	}
	want := []chat.RoomEvent{
		{Room: "r", Seq: 11, Fact: &chat.ReactionsChanged{Message: m.ID, Counts: message.Counts{{Key: "👍", N: 1}, {Key: "❤", N: 1}}, Changes: []chat.ReactionChange{
			{Key: "👍", User: "ann", On: true}, {Key: "👍", User: "cid"}, {Key: "❤", User: "bob", On: true},
		}}},
		{Room: "r", Seq: 12, Fact: &chat.ReactionsChanged{Message: other.ID, Counts: message.Counts{{Key: "👍", N: 1}}, Changes: []chat.ReactionChange{{Key: "👍", User: "cid", On: true}}}},
		{Room: "r", Seq: 14, Fact: &chat.ReactionsChanged{Message: m.ID, Counts: message.Counts{{Key: "👍", N: 2}, {Key: "❤", N: 1}}, Changes: []chat.ReactionChange{{Key: "👍", User: "bob", On: true}}}},
	}
	got := append(append([]chat.RoomEvent(nil), changes.Events[:2]...), changes.Events[3:]...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	edited := changes.Events[2].Fact.(chat.MessageEdited).Message //nolint:forcetypeassert // a test
	if diff := cmp.Diff(message.Counts{{Key: "👍", N: 1}, {Key: "❤", N: 1}}, edited.Extras.Reactions); diff != "" {
		t.Errorf("the edit shows reactions (-want +got):\n%s", diff)
	}
	if c := changes.Messages[0]; c.Changed != 14 || !c.Counted || c.Content != "z" {
		t.Errorf("stored %+v", c)
	}
}

func TestTooManyKeys(t *testing.T) {
	state := hall()
	m := said(&state, 5, "x")
	var commands []rules.Command
	for i := range message.MaxKeys + 1 {
		commands = append(commands, react("ann", m, fmt.Sprint(i), false))
	}
	_, outcomes := rules.Decide(state, append(commands, react("bob", m, "0", false), react("ann", m, "1", true), react("bob", m, "new", false)))
	words := reasons(outcomes)[message.MaxKeys-1:]
	if diff := cmp.Diff([]string{"done", "too_many_keys", "done", "done", "done"}, words); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestPin(t *testing.T) {
	state := hall()
	m, other := said(&state, 5, "x"), said(&state, 6, "y")
	state.Pins = map[chat.RoomID]int{"r": rules.MaxPins - 1}
	pin := func(user chat.UserID, m chat.Message, off bool) rules.Command {
		return rules.Pin{Origin: rulestest.By(user), Message: m.ID, Off: off}
	}
	changes, outcomes := rules.Decide(state, []rules.Command{
		pin("bob", m, false), pin("ann", m, false), pin("ann", m, false), pin("ann", other, false), pin("ann", m, true), pin("ann", other, false), remove("bob", other), pin("ann", m, false), pin("ann", other, true),
	})
	if diff := cmp.Diff([]string{"not_allowed", "done", "-", "too_large", "done", "done", "done", "done", "deleted"}, reasons(outcomes)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(chat.MessagePinned{Message: m.ID, By: "ann", At: state.At}, changes.Events[0].Fact); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if len(changes.Audit) != 4 || changes.Audit[1].Act != "unpin" {
		t.Errorf("audit %v", changes.Audit)
	}
	if last := changes.Messages[1]; !last.Extras.PinnedAt.IsZero() || !last.Gone {
		t.Errorf("of a deleted message that was pinned %+v is stored", last)
	}
}
