package check

import (
	"slices"
	"testing"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

func inboxCases() []broken {
	kept := func(h *history.History) *history.InboxRoom { return &h.Inboxes[0].Rooms[0] }
	fresh := func(h *history.History) *history.InboxRoom { return &h.Inboxes[1].Rooms[0] }
	return []broken{
		{name: "an inbox does not show the last message", invariant: 20, says: "device 1 of u20 shows all at event", harm: func(h *history.History) {
			kept(h).N--
		}},
		{name: "an inbox shows another last message", invariant: 20, says: "a last message of all that is not message", harm: func(h *history.History) {
			kept(h).Last = h.Log[0].Message
		}},
		{name: "an inbox shows the last message as it was before an edit", invariant: 20, says: "the same text false", harm: func(h *history.History) {
			kept(h).Lead++
		}},
		{name: "an inbox shows a last message that is deleted", invariant: 20, says: "deleted true, there false", harm: func(h *history.History) {
			fresh(h).Deleted = true
		}},
		{name: "an inbox shows what never was", invariant: 20, says: "and the last event is", harm: func(h *history.History) { kept(h).Seq++ }},
		{name: "unread of an inbox that kept up", invariant: 20, says: "by the database", harm: func(h *history.History) { kept(h).Unread++ }},
		{name: "unread of a new inbox", invariant: 20, says: "by the database", harm: func(h *history.History) { fresh(h).Unread-- }},
		{name: "a mention does not reach the inbox", invariant: 20, says: "shows 0 mentions in all", harm: func(h *history.History) {
			kept(h).Mentions = 0
		}},
		{name: "a new inbox counts a mention twice", invariant: 20, says: "shows 2 mentions in all", harm: func(h *history.History) {
			fresh(h).Mentions++
		}},
		{name: "an inbox misses a room", invariant: 20, says: "device 1 of u20 has all in its inbox: false", harm: func(h *history.History) {
			h.Inboxes[0].Rooms = nil
		}},
		{name: "an inbox has a room of others", invariant: 20, says: "has few in its inbox: true", harm: func(h *history.History) {
			h.Inboxes[0].Rooms = append(h.Inboxes[0].Rooms, history.InboxRoom{Room: 1})
		}},
		{name: "a list counts other mentions than the database", invariant: 18, says: "and by the database it is", harm: func(h *history.History) {
			h.Badges[0].Mentions, h.Badges[1].Mentions = 1, 1
		}},
		{name: "the database has a message without its mentions", invariant: 1, says: "answers or mentions something else", harm: func(h *history.History) {
			rowOf(h, farewell).Asides.Mentions = nil
		}},
		{name: "the database has a message without what it answers", invariant: 1, says: "answers or mentions something else", harm: func(h *history.History) {
			rowOf(h, mentioner).Asides.Reply = 0
		}},
		{name: "an answer is refused, and its message is there", invariant: 8, says: "reply_gone", harm: func(h *history.History) {
			refuse(h, rowOf(h, "m200").Seq)
		}},
	}
}

// refuse has a message of room 1 refused because the message that it answers is gone.
func refuse(h *history.History, answers uint64) {
	s := history.Send{User: 1, Conn: 2, Room: 1, ID: "refused", Invoke: leaveAt, Return: leaveAt + tick/10, Outcome: history.Fail, Code: history.ReplyGone}
	s.Asides.Reply = answers
	h.Sends = append(h.Sends, s)
}

// TestInboxesOwed: a device need not show what it cannot know, and a message whose answer is gone may be refused.
func TestInboxesOwed(t *testing.T) {
	for name, harm := range map[string]func(h *history.History){
		"the message that is answered is deleted": func(h *history.History) { refuse(h, rowOf(h, "m201").Seq) },
		"nothing was said since the faults": func(h *history.History) {
			h.Config.Healed = stopAt
			h.Inboxes[0].Rooms[0].N--
		},
		"the user spoke since": func(h *history.History) {
			is := &h.Inboxes[0]
			is.User, is.Rooms[0].Unread, is.Rooms[0].Mentions, is.Rooms[0].At = twofold, 7, 0, rowOf(h, "m600").Seq
		},
		"somebody mentioned everybody since": func(h *history.History) {
			for id, everyone := range map[string]bool{"m600": false, "m602": true} {
				rowOf(h, id).Asides.Everyone, sendOf(h, id).Asides.Everyone = everyone, everyone
			}
			h.Inboxes[1].Rooms[0].Mentions++
			for i := range h.Badges {
				h.Badges[i].Mentions = 0 // it spoke after that
			}
			h.Inboxes[0].Rooms[0].At = rowOf(h, "m600").Seq
		},
		"an edit took a mention back": func(h *history.History) {
			h.Acts = append(h.Acts, *actOf(h, messageEdit, 1))
			h.Acts[len(h.Acts)-1].Renames = true
			h.Inboxes[0].Rooms[0].Mentions, h.Inboxes[0].Rooms[0].At = 4, 1
		},
	} {
		h := valid()
		harm(h)
		for _, r := range Run(h) {
			if r.Count > 0 {
				t.Errorf("%s: %d %s: %v", name, r.Number, r.Name, r.Violations)
			}
		}
	}
}

// TestStandings: own messages move the marker unless they are older than where it was set back; what came before the user counts as read.
func TestStandings(t *testing.T) {
	h := valid()
	own := func(user int) (seqs []uint64) {
		for i := range h.Log {
			if e := &h.Log[i]; e.Room == 0 && e.User == user && e.Kind == messageNew {
				seqs = append(seqs, e.Seq)
			}
		}
		return seqs
	}(twofold)
	last, before := own[len(own)-1], own[len(own)-2]
	back := uint64(100)
	for _, c := range []struct {
		name    string
		receipt history.Receipt
		want    uint64
	}{
		{"the last one said", history.Receipt{Read: before + 1}, last},
		{"read beyond it", history.Receipt{Read: last + 1}, last + 1},
		{"set back after it", history.Receipt{Read: last, Back: &back, BackHead: last}, back},
		{"set back before it", history.Receipt{Read: last, Back: &back, BackHead: before}, last},
	} {
		c.receipt.User = twofold
		h.Receipts = []history.Receipt{c.receipt}
		if s, member := newIndex(h).newStandings().of(twofold, 0); !member || s.marker != c.want {
			t.Errorf("%s: %+v, member %t, want the marker at %d", c.name, s, member, c.want)
		}
	}
	h.Receipts = nil
	joins := newIndex(h).memberships(0)[quietUser]
	s, member := newIndex(h).newStandings().of(quietUser, 0)
	read := slices.ContainsFunc(h.Log, func(e history.Event) bool { return e.Room == 0 && e.N == s.n && e.Seq < joins[0] })
	if s.marker != 0 || !member || s.n > 0 && !read || s.unread != h.Rooms[0].Count-s.n {
		t.Errorf("who read nothing: %+v, member %t", s, member)
	}
	if _, member := newIndex(h).newStandings().of(outcast, 0); member {
		t.Error("the outcast is a member")
	}
}
