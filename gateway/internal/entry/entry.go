// Package entry reads which rooms a client wants to enter, and writes what became of several.
package entry

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

// MaxRooms is how many rooms one room:enter may name.
const MaxRooms = 100

// Room finds the room id in the arguments of room:join and room:leave: a string, or the field roomId of an object.
func Room(args []byte) (roomID string, ok bool) {
	arg, ok := rawjson.First(args)
	if !ok {
		return "", false
	}
	return roomOf(arg)
}

func roomOf(arg []byte) (roomID string, ok bool) {
	if arg[0] == '{' {
		arg, ok = rawjson.Field(arg, "roomId")
		if !ok {
			return "", false
		}
	}
	roomID, ok = rawjson.Unquote(arg)
	return roomID, ok && limits.ValidRoomID(roomID)
}

// Wanted is one of the rooms of a room:enter.
type Wanted struct {
	Room string
	Args []byte // as a room:join would have them
}

// Rooms reads the arguments of room:enter, `{ rooms: [{ roomId, since?, limit? }] }`.
func Rooms(args []byte) ([]Wanted, error) {
	arg, ok := rawjson.First(args)
	if !ok || arg[0] != '{' {
		return nil, fault.New(fault.Invalid, "the argument must be an object")
	}
	list, ok := rawjson.Field(arg, "rooms")
	if !ok || list[0] != '[' {
		return nil, fault.New(fault.Invalid, "rooms must be an array")
	}
	var rooms []Wanted
	for raw := range rawjson.Split(list) {
		id, ok := roomOf(raw)
		switch {
		case raw[0] != '{':
			return nil, fault.New(fault.Invalid, "rooms must be an array of objects")
		case !ok:
			return nil, fault.New(fault.Invalid, "roomId must be a string of 1 to 128 printable characters")
		case len(rooms) == MaxRooms:
			return nil, fault.Newf(fault.TooLarge, "rooms must have at most %d entries", MaxRooms)
		case slices.ContainsFunc(rooms, func(w Wanted) bool { return w.Room == id }):
			return nil, fault.New(fault.Invalid, "rooms must name each room once")
		}
		rooms = append(rooms, Wanted{id, slices.Concat([]byte("["), raw, []byte("]"))})
	}
	if len(rooms) == 0 {
		return nil, fault.New(fault.Invalid, "rooms must not be empty")
	}
	return rooms, nil
}

// atOnce is how many of the rooms of a room:enter are entered at the same time.
const atOnce = 4

// All enters rooms, a few at a time, and gives what enter gives for each. While atBound tells that with those that are being entered there are
// as many as may be, no other one is begun.
func All(rooms []Wanted, atBound func(entering int) bool, enter func(Wanted) []byte) [][]byte {
	answers := make([][]byte, len(rooms))
	var entering sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, room := range rooms {
		slots <- struct{}{}
		if atBound(len(slots) - 1) {
			entering.Wait()
		}
		entering.Go(func() {
			defer func() { <-slots }()
			answers[i] = enter(room)
		})
	}
	entering.Wait()
	return answers
}

// unreadMost is how many bytes may wait for a client that is sent the history of one more room.
const unreadMost = 64 << 10

// retryAfter is what is said of a room for which there was no turn.
const retryAfter = time.Second

// Turn waits, as long as ctx lasts, until a client may be sent the history of one more room: it has taken most of what came before, and take, which
// takes one token of its rate, does not refuse.
func Turn(ctx context.Context, conn transport.Conn, take func() *fault.Error) error {
	if conn.QueuedBytes() > unreadMost {
		conn.Flush() // what was not offered to the kernel is no sign of anything
		if err := transport.AwaitQueue(ctx, conn, unreadMost); err != nil {
			return &fault.Error{Kind: fault.Unavailable, Message: "The client has not taken what came before", RetryAfter: retryAfter, Cause: err}
		}
	}
	for {
		refusal := take()
		if refusal == nil {
			return nil
		}
		if !run.Pause(ctx, refusal.RetryAfter) {
			return refusal
		}
	}
}

// Ack writes the ack of room:enter. answers has for each room what the ack of its room:join would have been: the arguments, with `{ ok, … }`.
func Ack(rooms []Wanted, answers [][]byte) []byte {
	b := append(make([]byte, 0, 64+160*len(rooms)), `[{"ok":true,"rooms":[`...)
	for i, room := range rooms {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendAnswer(b, room.Room, answers[i])
	}
	return append(b, `]}]`...)
}

// appendAnswer writes the first of the arguments of an ack, an object with something in it, and which room it is about.
func appendAnswer(b []byte, room string, args []byte) []byte {
	b = rawjson.AppendString(append(b, `{"roomId":`...), room)
	answer, ok := rawjson.First(args)
	if !ok || answer[0] != '{' {
		return append(b, '}')
	}
	for key, value := range rawjson.Members(answer) {
		if !rawjson.Is(key, "roomId") {
			b = append(append(append(append(b, ','), key...), ':'), value...)
		}
	}
	return append(b, '}')
}
