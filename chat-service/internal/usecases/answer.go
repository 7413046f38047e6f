package usecases

import (
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
)

// What answers may weigh, in bytes of JSON. They travel in one piece: an ack of message:history in a NATS message (1 MiB)
// and in a packet to the client, an answer to a gateway in a gRPC message (4 MiB). What does not fit is left for the next
// page; one message always fits.
const (
	maxPageWeight = 640 << 10
	maxJoinWeight = 2 << 20
	// MaxEventsWeight bounds an answer of Events.
	MaxEventsWeight = 2 << 20
)

// messageOverhead is what a message weighs beside its strings.
const messageOverhead = 320

func weightOf(m *chat.Message) int {
	n := messageOverhead + message.Weight(m.Content) + message.Weight(m.Sender.Name) + len(m.Room)
	if x := m.Extras; x != nil {
		n += messageOverhead + len(x.Data)
		for _, count := range x.Reactions {
			n += message.Weight(count.Key) + len(`{"key":"","count":123456,"mine":true},`)
		}
		for _, user := range x.Mentioned {
			n += len(user) + len(`"",`)
		}
		if x.ReplyTo != nil {
			n += message.Weight(x.ReplyTo.Preview) + message.Weight(x.ReplyTo.Sender.Name) + len(x.ReplyTo.Sender.ID)
		}
	}
	return n
}

func (n *Notification) weight() int {
	return messageOverhead + message.Weight(n.Title) + message.Weight(n.Body) + len(n.Data)
}

// fit shortens the view's messages to a weight: the newest stay, unless the page runs forward from its start.
func (v *View) fit(most int, forward bool) {
	sum := 0
	for i := range v.Messages {
		at := i
		if !forward {
			at = len(v.Messages) - 1 - i
		}
		if sum += weightOf(&v.Messages[at]); sum <= most || i == 0 {
			continue
		}
		v.HasMore = true
		if forward {
			v.Messages = v.Messages[:at]
		} else {
			v.Messages = v.Messages[at+1:]
		}
		return
	}
}

// fitRooms leaves out last messages where the list gets too heavy: first those of the rooms at its end.
func fitRooms(rooms []RoomSummary) {
	sum := 0
	for i := range rooms {
		if rooms[i].Last == nil {
			continue
		}
		if sum += weightOf(rooms[i].Last); sum > maxPageWeight {
			rooms[i].Last = nil
		}
	}
}

func fitNotifications(list []Notification) []Notification {
	sum := 0
	for i := range list {
		if sum += list[i].weight(); sum > maxPageWeight && i > 0 {
			return list[:i]
		}
	}
	return list
}
