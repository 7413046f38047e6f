package load

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// answer is the one argument of an ack, for all events that a client emits here.
type answer struct {
	OK    bool `json:"ok"`
	Error struct {
		Code         string `json:"code"`
		Reason       string `json:"reason"`
		Message      string `json:"message"`
		RetryAfterMs int    `json:"retryAfterMs"`
	} `json:"error"`
	ID       string        `json:"id"`
	Seq      uint64        `json:"seq"`
	HasMore  bool          `json:"hasMore"`
	UpTo     uint64        `json:"upTo"` // of message:changes
	Messages []chatMessage `json:"messages"`
	Rooms    []listedRoom  `json:"rooms"` // of room:list and room:enter
	Failed   []struct {
		Reason string `json:"reason"`
	} `json:"failed"` // of room:add and room:remove
}

func parseAnswer(body []byte) (answer, error) {
	var args []answer
	if err := json.Unmarshal(body, &args); err != nil {
		return answer{}, fmt.Errorf("ack %.60q: %w", body, err)
	}
	if len(args) != 1 {
		return answer{}, fmt.Errorf("ack with %d arguments", len(args))
	}
	return args[0], nil
}

// chatMessage is message:new, and an element of room:history and of pages.
type chatMessage struct {
	shownMessage

	raw json.RawMessage
}

// shownMessage are the fields that the rig looks at.
type shownMessage struct {
	ID      string `json:"id"`
	RoomID  string `json:"roomId"`
	Seq     uint64 `json:"seq"`
	N       uint64 `json:"n"`
	Changed uint64 `json:"changed"`
	Sender  struct {
		ID string `json:"id"`
	} `json:"sender"`
	Content   string `json:"content"`
	DeletedAt string `json:"deletedAt"`
}

// UnmarshalJSON implements json.Unmarshaler: the message as it came is kept.
func (m *chatMessage) UnmarshalJSON(raw []byte) error {
	m.raw = bytes.Clone(raw)
	return json.Unmarshal(raw, &m.shownMessage)
}

// version is that of the state which the message shows.
func (m *chatMessage) version() uint64 { return max(m.Seq, m.Changed) }

// fact is an event about a message.
type fact struct {
	RoomID    string      `json:"roomId"`
	Seq       uint64      `json:"seq"`
	MessageID string      `json:"messageId"`
	Message   chatMessage `json:"message"` // of message:edited
}

// readState is how far a user has read a room, and what is left.
type readState struct {
	Unread   uint64 `json:"unread"`
	Mentions uint64 `json:"mentions"`
	Marker   struct {
		Seq uint64 `json:"seq"`
		N   uint64 `json:"n"`
	} `json:"marker"`
}

// listedRoom is an element of room:list, and of the ack of room:enter.
type listedRoom struct {
	RoomID string `json:"roomId"`
	readState

	OK      bool   `json:"ok"`
	Seq     uint64 `json:"seq"`
	HasMore bool   `json:"hasMore"`
	Error   struct {
		Code         string `json:"code"`
		RetryAfterMs int    `json:"retryAfterMs"`
	} `json:"error"`
}

// membership is room:user-joined and room:user-left.
type membership struct {
	UserID string `json:"userId"`
	RoomID string `json:"roomId"`
	Seq    uint64 `json:"seq"`
}
