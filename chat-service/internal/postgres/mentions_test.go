package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// mentioning is a message that mentions users, or the room.
func mentioning(room chat.RoomID, from chat.UserID, content string, all bool, users ...chat.UserID) rules.Send {
	return rules.Send{Origin: by(room, from), Content: content, Type: "text", Extras: &chat.Extras{Mentioned: users, MentionsRoom: all}}
}

// mentions lists what mentions bob, the newest first, by pages of two.
func mentions(t *testing.T, s *postgres.Store) (list []string) {
	t.Helper()
	var after usecases.MentionsCursor
	for {
		page, err := s.Mentions(t.Context(), "bob", after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page {
			list, after = append(list, m.Message.Content), m.Place
		}
		if len(page) < 2 {
			return list
		}
	}
}

// logOf gives bob's log after a sequence as it is read.
func logOf(t *testing.T, s *postgres.Store, after uint64) (list []string) {
	t.Helper()
	events, _, err := s.LogEvents(t.Context(), "bob", chat.LogPage{After: after, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range told(t, events) {
		_, content, _ := strings.Cut(string(events[i].Bytes), `"content":"`)
		content, _, _ = strings.Cut(content, `"`)
		list = append(list, strings.TrimSpace(name+" "+content))
	}
	return list
}

// TestMentions: who is mentioned is told in its log if it is in the room and has not blocked who says it, and finds the message in its list, until the
// message mentions it no more; its marker counts them. What the message says is nowhere when it is deleted.
func TestMentions(t *testing.T) {
	s := open(t, database(t))
	bob := chat.Membership{Room: "r", User: "bob"}
	commit(t, s, join("r", "ann"), join("r", "bob"), join("r", "eve"), join("q", "ann"), join("q", "bob"))
	commit(t, s, rules.Block{Origin: by(chat.DirectID([]chat.UserID{"ann", "eve"}), "eve"), Who: "ann"})
	count := func(want int) {
		t.Helper()
		marker, err := s.Marker(t.Context(), bob)
		list, listErr := s.Rooms(t.Context(), "bob", usecases.RoomsPage{Limit: 9})
		if err != nil || listErr != nil || marker.Mentions != want {
			t.Errorf("%d mentions, %v, %v; want %d", marker.Mentions, err, listErr, want)
		}
		i := slices.IndexFunc(list.List, func(r usecases.RoomSummary) bool { return r.Room == "r" })
		if got := list.List[i].Marker.Mentions; got != want {
			t.Errorf("%d mentions in the list of rooms, want %d", got, want)
		}
	}
	outcomes, out := commit(t, s, mentioning("r", "ann", "first", false, "ann", "bob", "eve", "zed"))
	if got := told(t, out.Events); len(got) != 2 || got[1] != "3 me:mention" {
		t.Errorf("what goes out is %q, want the message, and bob told", got)
	}
	for user, want := range map[chat.UserID]uint64{"bob": 3, "zed": 0} {
		if heads, err := s.LogHeads(t.Context(), []chat.UserID{user}); heads[user] != want || err != nil {
			t.Errorf("the log of %s stands at %d, %v; want %d", user, heads[user], err, want)
		}
	}
	count(1)
	commit(t, s, mentioning("q", "ann", "elsewhere", false, "bob"), mentioning("r", "ann", "all", true, "bob"), mentioning("r", "ann", "all of you", true))
	count(3)
	if diff := cmp.Diff([]string{"all of you", "all", "first"}, slices.DeleteFunc(mentions(t, s), func(c string) bool { return c == "elsewhere" })); diff != "" {
		t.Errorf("the list (-want +got):\n%s", diff)
	}
	commit(t, s, rules.Edit{Origin: by("r", "ann"), Message: outcomes[0].ID, Content: new("edited")})
	if diff := cmp.Diff([]string{"3 me:mention edited", "4 me:mention elsewhere", "5 me:mention all"}, logOf(t, s, 2)); diff != "" {
		t.Errorf("the log after an edit (-want +got):\n%s", diff)
	}
	commit(t, s, rules.Edit{Origin: by("r", "ann"), Message: outcomes[0].ID, Mentions: &rules.Mentions{}})
	count(2)
	if list := mentions(t, s); slices.Contains(list, "edited") || len(list) != 3 {
		t.Errorf("the list after it was taken back: %q", list)
	}
	_, out = commit(t, s, rules.Edit{Origin: by("r", "ann"), Message: outcomes[0].ID, Mentions: &rules.Mentions{Users: []chat.UserID{"bob"}}})
	if names := fmt.Sprint(told(t, out.Events)); !strings.Contains(names, "6 me:mention") {
		t.Errorf("an edit that mentions again tells %s", names)
	}
	count(3)

	commit(t, s, rules.DeleteMessage{Origin: by("r", "ann"), Message: outcomes[0].ID})
	count(2)
	if log := logOf(t, s, 0); strings.Contains(fmt.Sprint(log), "edited") || len(log) != 6 {
		t.Errorf("the log after the deletion: %q", log)
	}
	rooms, err := s.Erasures(t.Context(), 10)
	if !slices.Contains(rooms, chat.LogOf("bob")) || err != nil {
		t.Errorf("the stream is to forget %q, %v; want bob's log among them", rooms, err)
	}
	commit(t, s, send("r", "bob", "hi", ""))
	count(0)
	commit(t, s, mentioning("r", "ann", "late", false, "bob"))
	count(1)
	batch, _ := commit(t, s, rules.TellMarkers{Origin: rules.Origin{Room: "r"}, Users: []chat.UserID{"bob"}}, mentioning("r", "ann", "with it", false, "bob"),
		rules.TellMarkers{Origin: rules.Origin{Room: "r"}, Users: []chat.UserID{"bob"}})
	if log := logOf(t, s, 7); len(log) != 3 || !batch[2].Changed {
		t.Errorf("markers in a batch with a mention: %q", log)
	}
	events, _, _ := s.LogEvents(t.Context(), "bob", chat.LogPage{After: 7, Limit: 9})
	if first, last := string(events[0].Bytes), string(events[2].Bytes); !strings.Contains(first, `"mentions":1`) || !strings.Contains(last, `"mentions":2`) {
		t.Errorf("markers in a batch with a mention: %q then %q", first, last)
	}

	commit(t, s, rules.Remove{Origin: by("r", "ann"), Who: "bob"})
	if list := mentions(t, s); !slices.Equal(list, []string{"elsewhere"}) {
		t.Errorf("out of the room bob lists %q", list)
	}
	if log := fmt.Sprint(logOf(t, s, 0)); strings.Contains(log, "late") || !strings.Contains(log, "elsewhere") {
		t.Errorf("out of the room the log of bob shows %s", log)
	}
}

// TestMentionsOfAnswers: what a message said that is deleted now stands also in the logs of users whom its answers mention, those that mention nobody any
// more included.
func TestMentionsOfAnswers(t *testing.T) {
	s := open(t, database(t))
	commit(t, s, join("r", "ann"), join("r", "bob"), join("r", "eve"), join("r", "kim"))
	said, _ := commit(t, s, mentioning("r", "ann", "secret", false, "kim"), send("r", "ann", "another", ""))
	answer := func(to chat.MessageID, user chat.UserID) rules.Send {
		return rules.Send{Origin: by("r", "ann"), Content: "yes", Type: "text", Extras: &chat.Extras{ReplyTo: &chat.Reply{ID: to}, Mentioned: []chat.UserID{user}}}
	}
	answers, _ := commit(t, s, answer(said[0].ID, "bob"), answer(said[0].ID, "bob"), answer(said[1].ID, "eve"))
	commit(t, s, rules.Edit{Origin: by("r", "ann"), Message: answers[0].ID, Mentions: &rules.Mentions{}})
	commit(t, s, rules.Edit{Origin: by("r", "ann"), Message: answers[1].ID, Mentions: &rules.Mentions{}})
	commit(t, s, rules.DeleteMessage{Origin: by("r", "ann"), Message: said[0].ID})
	rooms, err := s.Erasures(t.Context(), 10)
	slices.Sort(rooms)
	want := []chat.RoomID{chat.LogOf("bob"), chat.LogOf("kim"), "r"}
	slices.Sort(want)
	if diff := cmp.Diff(want, rooms); diff != "" || err != nil {
		t.Errorf("the stream is to forget (-want +got, %v):\n%s", err, diff)
	}
}
