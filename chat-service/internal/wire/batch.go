package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// batchEvents is the number of the field RoomEventBatch.events.
const batchEvents protowire.Number = 1

// Batch frames encoded events as a RoomEventBatch, without encoding them again.
func Batch(events []chat.EncodedEvent) []byte {
	size := 0
	for _, e := range events {
		size += len(e.Bytes) + 6
	}
	b := make([]byte, 0, size)
	for _, e := range events {
		b = protowire.AppendTag(b, batchEvents, protowire.BytesType)
		b = protowire.AppendBytes(b, e.Bytes)
	}
	return b
}

// SplitBatch is the reverse of Batch.
func SplitBatch(batch []byte) ([]chat.EncodedEvent, error) {
	var events []chat.EncodedEvent
	for len(batch) > 0 {
		number, kind, n := protowire.ConsumeTag(batch)
		if n < 0 {
			return nil, fmt.Errorf("read batch: %w", protowire.ParseError(n))
		}
		batch = batch[n:]
		if number != batchEvents || kind != protowire.BytesType {
			return nil, fmt.Errorf("read batch: unexpected field %d", number)
		}
		raw, n := protowire.ConsumeBytes(batch)
		if n < 0 {
			return nil, fmt.Errorf("read batch: %w", protowire.ParseError(n))
		}
		batch = batch[n:]
		var e eventv1.RoomEvent
		if err := proto.Unmarshal(raw, &e); err != nil {
			return nil, fmt.Errorf("read room event: %w", err)
		}
		events = append(events, chat.EncodedEvent{Room: chat.RoomID(e.GetRoomId()), Seq: e.GetSeq(), Bytes: raw})
	}
	return events, nil
}

// Chunk is events of one room, framed as the RoomEventBatch that travels on the room's subject.
type Chunk struct {
	Room        chat.RoomID
	First, Last uint64 // sequences
	Bytes       []byte
}

// Bounds of a Chunk, so that a gateway can deliver while the next is on its way.
const (
	chunkEvents = 64
	chunkBytes  = 256 << 10
)

// Chunks sorts the events of one transaction into chunks. The order of each room's events is kept; the same events make the
// same chunks.
func Chunks(events []chat.EncodedEvent) []Chunk {
	byRoom := make(map[chat.RoomID][]chat.EncodedEvent)
	var rooms []chat.RoomID
	for _, e := range events {
		if byRoom[e.Room] == nil {
			rooms = append(rooms, e.Room)
		}
		byRoom[e.Room] = append(byRoom[e.Room], e)
	}
	chunks := make([]Chunk, 0, len(rooms))
	for _, room := range rooms {
		for rest := byRoom[room]; len(rest) > 0; {
			n, size := 1, len(rest[0].Bytes)
			for n < min(len(rest), chunkEvents) && size+len(rest[n].Bytes) <= chunkBytes {
				size += len(rest[n].Bytes)
				n++
			}
			chunks = append(chunks, Chunk{Room: room, First: rest[0].Seq, Last: rest[n-1].Seq, Bytes: Batch(rest[:n])})
			rest = rest[n:]
		}
	}
	return chunks
}
