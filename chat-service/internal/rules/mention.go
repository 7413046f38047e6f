package rules

import (
	"slices"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// ChangedMention is a message that mentions somebody from now on, or no longer.
type ChangedMention struct {
	chat.MessageRef

	User chat.UserID // "" = everybody in the room
	At   time.Time   // of the message
	Off  bool
}

// needMentions has it known which users a message that mentions them reaches: members who have not blocked who says it.
func needMentions(n *Needs, o Origin, users []chat.UserID) {
	for _, user := range users {
		m := chat.Membership{Room: o.Room, User: user}
		n.Members, n.Mentioned = append(n.Members, m), append(n.Mentioned, m)
		n.Blocks = append(n.Blocks, Pair{User: user, Blocked: o.User})
	}
}

// mention notes whom a message mentions, where that is not what it was before (nil = it is new), and tells those who were not mentioned before. Nobody
// is told of a mention of the whole room: everybody there gets the message.
func (b *batch) mention(o Origin, m *chat.Message, before *chat.Extras) {
	var was chat.Extras
	if before != nil {
		was = *before
	}
	is := m.Extras
	change := func(user chat.UserID, off bool) {
		b.changes.Mentions = append(b.changes.Mentions, ChangedMention{m.Ref(), user, m.CreatedAt, off})
	}
	if is.MentionsRoom != was.MentionsRoom {
		change("", was.MentionsRoom)
	}
	for _, user := range was.Mentioned {
		if !slices.Contains(is.Mentioned, user) {
			change(user, true)
		}
	}
	for i, user := range is.Mentioned {
		known := slices.Contains(was.Mentioned, user) || slices.Contains(is.Mentioned[:i], user) || user == m.Sender.ID
		if known || !b.member(chat.Membership{Room: m.Room, User: user}).Is || b.blocked(Pair{user, o.User}) {
			continue
		}
		change(user, false)
		if _, locked := b.state.Logs[user]; locked {
			b.tell(user, o, nil, chat.Mentioned{Message: *m})
		}
	}
}

// newMentions tells how many more messages behind a sequence mention a user by this batch; fewer if it is negative.
func (b *batch) newMentions(m chat.Membership, after uint64) (n int) {
	seen := map[uint64]bool{}
	for _, c := range b.changes.Mentions {
		if c.Room != m.Room || c.Seq <= after || c.User != "" && c.User != m.User || seen[c.Seq] {
			continue
		}
		if seen[c.Seq] = true; c.Off {
			n--
		} else {
			n++
		}
	}
	return n
}
