package chat

// Activity is how a room stands, as far as the inboxes of its members show it.
type Activity struct {
	Room RoomID
	Seq  uint64
	N    uint64   // how many messages it has had
	Last *Message // of the content only as much as a preview shows; nil = nothing was said
}
