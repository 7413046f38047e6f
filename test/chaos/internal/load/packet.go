package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Engine.IO packet types.
const (
	engineOpen    = '0'
	engineClose   = '1'
	enginePing    = '2'
	enginePong    = '3'
	engineMessage = '4'
)

// Socket.IO packet types.
const (
	socketConnect    = '0'
	socketDisconnect = '1'
	socketEvent      = '2'
	socketAck        = '3'
	socketError      = '4'
)

// handshake is the Engine.IO open packet.
type handshake struct {
	SID          string `json:"sid"`
	PingInterval int    `json:"pingInterval"` // ms
	PingTimeout  int    `json:"pingTimeout"`  // ms
}

// greeting is the reply to CONNECT.
type greeting struct {
	SID string `json:"sid"`
	PID string `json:"pid"`
}

// refusal is a CONNECT_ERROR.
type refusal struct {
	Message string `json:"message"`
	Data    struct {
		Code string `json:"code"`
	} `json:"data"`
}

// packet is a Socket.IO packet of the namespace /.
type packet struct {
	kind byte
	id   int64 // of an ack or an event that wants one; -1 without
	body []byte
}

func parsePacket(b []byte) (packet, error) {
	if len(b) == 0 {
		return packet{}, errors.New("empty Socket.IO packet")
	}
	p := packet{kind: b[0], id: -1}
	b = b[1:]
	digits := 0
	for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
		digits++
	}
	if digits > 0 {
		id, err := strconv.ParseInt(string(b[:digits]), 10, 64)
		if err != nil {
			return packet{}, fmt.Errorf("ack id: %w", err)
		}
		p.id = id
	}
	p.body = b[digits:]
	if len(p.body) > 0 && p.body[0] == '/' {
		return packet{}, fmt.Errorf("packet of another namespace: %.40q", p.body)
	}
	return p, nil
}

// event is a parsed EVENT packet: args are what follows the name, the offset included.
type event struct {
	name   string
	args   []json.RawMessage
	offset string // the last argument, where it is a string
}

func parseEvent(body []byte) (event, error) {
	var all []json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return event{}, fmt.Errorf("event %.60q: %w", body, err)
	}
	var e event
	if len(all) == 0 || json.Unmarshal(all[0], &e.name) != nil {
		return event{}, fmt.Errorf("event without a name: %.60q", body)
	}
	// As the official client: whatever string stands at the end, be it the name, is the offset.
	if last := all[len(all)-1]; last[0] == '"' {
		if err := json.Unmarshal(last, &e.offset); err != nil {
			return event{}, fmt.Errorf("offset of %s: %w", e.name, err)
		}
	}
	e.args = all[1:]
	return e, nil
}

// encodeEvent spells an EVENT as an Engine.IO message; id -1 asks for no ack.
func encodeEvent(id int64, name string, arg any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte(engineMessage)
	b.WriteByte(socketEvent)
	if id >= 0 {
		b.WriteString(strconv.FormatInt(id, 10))
	}
	raw, err := json.Marshal([]any{name, arg})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	b.Write(raw)
	return b.Bytes(), nil
}

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
