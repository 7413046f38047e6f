package departures

import (
	"context"
	"errors"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/proto/fault"
)

// atOnce bounds how many rooms a user leaves at once.
const atOnce = 100

// Store knows what is a user's own.
type Store interface {
	// RoomsToLeave lists at most limit rooms of a user, but direct and deleted ones.
	RoomsToLeave(ctx context.Context, user chat.UserID, limit int) ([]chat.RoomID, error)
	// Heir is who is to own a room after its owner: of the members but guests the one with the highest role, and of those the one who has been
	// there the longest; "" = nobody.
	Heir(ctx context.Context, owner chat.Membership) (chat.UserID, error)
	// ForgetIn deletes how a user has used rooms, and Forget what else is the user's own. Doing it again does no harm.
	ForgetIn(ctx context.Context, user chat.UserID, rooms []chat.RoomID) error
	Forget(ctx context.Context, user chat.UserID) error
}

// Rooms are left.
type Rooms interface {
	Leave(c usecases.Caller, room chat.RoomID, successor chat.UserID, done func(error)) error
}

// Departures is safe for concurrent use.
type Departures struct {
	store Store
	rooms Rooms
}

// New makes Departures.
func New(store Store, rooms Rooms) *Departures { return &Departures{store: store, rooms: rooms} }

// Gone ends the memberships of users who are no more, as if they left: others in those rooms are told, and where one of them was the only owner
// somebody else is. Then it forgets them. Direct rooms stay, because nobody leaves one, and so do messages. Doing it again does no harm.
func (d *Departures) Gone(ctx context.Context, users []chat.UserID) error {
	for _, user := range users {
		if err := d.leaveAll(ctx, user); err != nil {
			return err
		}
		if err := d.store.Forget(ctx, user); err != nil {
			return err
		}
	}
	return nil
}

func (d *Departures) leaveAll(ctx context.Context, user chat.UserID) error {
	for {
		rooms, err := d.store.RoomsToLeave(ctx, user, atOnce)
		if err != nil || len(rooms) == 0 {
			return err
		}
		if err := d.store.ForgetIn(ctx, user, rooms); err != nil {
			return err
		}
		owned, err := d.leave(ctx, user, rooms, nil)
		if err != nil {
			return err
		}
		heirs := make(map[chat.RoomID]chat.UserID, len(owned))
		for _, room := range owned {
			if heirs[room], err = d.store.Heir(ctx, chat.Membership{Room: room, User: user}); err != nil {
				return err
			}
		}
		// Should an heir have left meanwhile, the next round finds another one.
		if _, err := d.leave(ctx, user, owned, heirs); err != nil {
			return err
		}
	}
}

// leave ends the user's memberships in rooms, and tells in which it does not, because they need an heir.
func (d *Departures) leave(ctx context.Context, user chat.UserID, rooms []chat.RoomID, heirs map[chat.RoomID]chat.UserID) (owned []chat.RoomID, err error) {
	type left struct {
		room chat.RoomID
		err  error
	}
	answers := make(chan left, len(rooms))
	for _, room := range rooms {
		if err := d.rooms.Leave(usecases.Caller{User: user}, room, heirs[room], func(err error) { answers <- left{room, err} }); err != nil {
			return nil, err
		}
	}
	for range rooms {
		select {
		case l := <-answers:
			var refused *fault.Error
			switch {
			case errors.As(l.err, &refused) && refused.Reason == fault.ReasonLastOwner,
				heirs[l.room] != "" && fault.KindOf(l.err) == fault.Invalid: // the heir has left
				owned = append(owned, l.room)
			case l.err != nil:
				return nil, l.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return owned, nil
}
