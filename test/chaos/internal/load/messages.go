package load

import (
	"encoding/json"
	"fmt"
)

// answer is the one argument of an ack, for all events that a client emits here.
type answer struct {
	OK    bool `json:"ok"`
	Error struct {
		Code         string `json:"code"`
		Message      string `json:"message"`
		RetryAfterMs int    `json:"retryAfterMs"`
	} `json:"error"`
	ID       string        `json:"id"`
	Seq      uint64        `json:"seq"`
	HasMore  bool          `json:"hasMore"`
	Messages []chatMessage `json:"messages"`
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

// chatMessage is message:new, and an element of room:history.
type chatMessage struct {
	ID     string `json:"id"`
	RoomID string `json:"roomId"`
	Seq    uint64 `json:"seq"`
	Sender struct {
		ID string `json:"id"`
	} `json:"sender"`
	Content string `json:"content"`
}

// membership is room:user-joined and room:user-left.
type membership struct {
	UserID string `json:"userId"`
	RoomID string `json:"roomId"`
	Seq    uint64 `json:"seq"`
}
