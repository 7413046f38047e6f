package wire

import (
	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// Codec is Encode, Batch and SplitBatch as one value, for a Store that keeps room events as they travel.
type Codec struct{}

// Event is Encode.
func (Codec) Event(e chat.RoomEvent) (chat.EncodedEvent, error) { return Encode(e) }

// Batch is Batch.
func (Codec) Batch(events []chat.EncodedEvent) []byte { return Batch(events) }

// SplitBatch is SplitBatch.
func (Codec) SplitBatch(payload []byte) ([]chat.EncodedEvent, error) { return SplitBatch(payload) }
