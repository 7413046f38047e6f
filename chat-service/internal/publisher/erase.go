package publisher

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/proto/subject"
)

// The stream is to have nothing of what a deleted message said. It is told to forget all events of the room: a gateway that misses some reads
// them from the log, where the message is as it is by now. What is on its way to the stream in that moment is forgotten by telling it
// again, which Erasures see to.

// Erasures are rooms of which the stream has something to forget.
type Erasures interface {
	// Erasures takes rooms that are due, for a while.
	Erasures(ctx context.Context, limit int) ([]chat.RoomID, error)
	// Erased notes that the stream has forgotten what it had of rooms.
	Erased(ctx context.Context, rooms []chat.RoomID) error
}

const (
	erasePause   = 2 * time.Second
	eraseTimeout = 10 * time.Second
	eraseRooms   = 20 // at one look
)

// Erase implements usecases.Publisher.
func (p *Publisher) Erase() {
	select {
	case p.erase <- struct{}{}:
	default: // somebody has said so
	}
}

// eraseLoop has the stream forget what it is to forget. While the stream is away there is nothing that it could tell.
func (p *Publisher) eraseLoop(ctx context.Context) {
	timer := time.NewTimer(erasePause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.erase:
		}
		for ctx.Err() == nil && !p.Degraded() && p.eraseSome(ctx) {
			continue
		}
		timer.Reset(erasePause)
	}
}

// eraseSome erases one lot of rooms; more tells that there are probably others.
func (p *Publisher) eraseSome(ctx context.Context) (more bool) {
	ctx, cancel := context.WithTimeout(ctx, eraseTimeout)
	defer cancel()
	rooms, err := p.outbox.Erasures(ctx, eraseRooms)
	if err != nil || len(rooms) == 0 {
		return false // the relay says that the database is away
	}
	stream, err := p.js.Stream(ctx, subject.RoomsStream)
	for _, room := range rooms {
		if err == nil {
			err = stream.Purge(ctx, jetstream.WithPurgeSubject(subject.RoomLog(string(room))))
		}
	}
	if err == nil {
		err = p.outbox.Erased(ctx, rooms)
	}
	if err != nil {
		p.unerased.Failed(ctx, err) // they are due again soon
		return false
	}
	p.unerased.Over(ctx)
	p.log.LogAttrs(ctx, slog.LevelDebug, "stream told to forget rooms", slog.Int("rooms", len(rooms)))
	return len(rooms) == eraseRooms
}
