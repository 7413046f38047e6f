package rules

import "github.com/starling-chat/starling/chat-service/internal/chat"

// TellMarkers tells the devices of users how far these have read in a room by now. What is told is the state, so that it does no harm to tell it
// twice.
type TellMarkers struct {
	Origin // only the room

	Users []chat.UserID
}

func (c TellMarkers) need(n *Needs) {
	for _, user := range c.Users {
		m := chat.Membership{Room: c.Room, User: user}
		n.Members, n.Markers, n.Logs = append(n.Members, m), append(n.Markers, m), append(n.Logs, user)
	}
}

// decide tells those who are members.
func (c TellMarkers) decide(b *batch) Outcome {
	r := b.room(c.Room)
	if r == nil {
		return Outcome{}
	}
	changed := false
	for _, user := range c.Users {
		m := chat.Membership{Room: c.Room, User: user}
		marker, known := b.state.Markers[m]
		if !known || !b.member(m).Is {
			continue
		}
		if seq, n := b.lastSaid(m); seq > 0 {
			marker.Seq, marker.N, marker.Mentions = seq, n, 0
		}
		marker.Mentions = min(max(marker.Mentions+b.newMentions(m, marker.Seq), 0), chat.MaxMentions)
		marker.Unread = min(max(r.N, marker.N)-marker.N, chat.MaxUnread)
		b.tell(user, c.Origin, nil, chat.MarkerMoved{Room: c.Room, Marker: marker, At: r.Seq})
		changed = true
	}
	return Outcome{Changed: changed}
}

// lastSaid gives the last message of a user in this batch; 0 = there is none.
func (b *batch) lastSaid(m chat.Membership) (seq, n uint64) {
	for i := range b.changes.Events {
		sent, is := b.changes.Events[i].Fact.(chat.MessageSent)
		if is && sent.Message.Room == m.Room && sent.Message.Sender.ID == m.User {
			seq, n = sent.Message.Seq, sent.Message.N
		}
	}
	return seq, n
}

var _ Command = TellMarkers{}
