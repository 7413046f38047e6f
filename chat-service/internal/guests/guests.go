package guests

import (
	"context"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// atOnce bounds how many rooms a guest leaves at once.
const atOnce = 100

// Store knows what is a guest's own.
type Store interface {
	// RoomsToLeave lists at most limit rooms of a user, but direct and deleted ones.
	RoomsToLeave(ctx context.Context, user chat.UserID, limit int) ([]chat.RoomID, error)
	// ForgetGuest deletes what is a guest's own; doing it again does no harm.
	ForgetGuest(ctx context.Context, guest chat.UserID) error
}

// Rooms are left.
type Rooms interface {
	Leave(c usecases.Caller, room chat.RoomID, successor chat.UserID, done func(error)) error
}

// Guests is safe for concurrent use.
type Guests struct {
	store Store
	rooms Rooms
}

// New makes Guests.
func New(store Store, rooms Rooms) *Guests { return &Guests{store: store, rooms: rooms} }

// Gone ends the memberships of guests who are no more, as if they left: others in those rooms are told. Then it forgets them. Direct rooms stay,
// because nobody leaves one. Users who are no guests are none of these. Doing it again does no harm.
func (g *Guests) Gone(ctx context.Context, guests []chat.UserID) error {
	for _, guest := range guests {
		if !guest.Guest() {
			continue
		}
		if err := g.leaveAll(ctx, guest); err != nil {
			return err
		}
		if err := g.store.ForgetGuest(ctx, guest); err != nil {
			return err
		}
	}
	return nil
}

func (g *Guests) leaveAll(ctx context.Context, guest chat.UserID) error {
	for {
		rooms, err := g.store.RoomsToLeave(ctx, guest, atOnce)
		if err != nil || len(rooms) == 0 {
			return err
		}
		left := make(chan error, len(rooms))
		for _, room := range rooms {
			if err := g.rooms.Leave(usecases.Caller{User: guest}, room, "", func(err error) { left <- err }); err != nil {
				return err
			}
		}
		for range rooms {
			select {
			case err := <-left:
				if err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}
