package usecases

import (
	"context"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/markers"
	"github.com/starling-chat/starling/proto/fault"
)

// MarkRead moves the caller's receipt and marker forward, and tells the others in the room, unless they are many, and the caller's devices; an
// older message changes nothing. done gets where the marker is by then.
func (s *Service) MarkRead(c Caller, r Receipt, done func(chat.Marker, error)) error {
	r.User, r.Granted, r.Until = c.User, c.granted(r.Room), c.Asker.Until
	return s.receipts.Submit(r, c.Asker, func(o ReadOutcome, err error) {
		if err == nil {
			err = o.refusal(access.Attend)
		}
		if err == nil && o.Marked {
			moved := markers.Moved{User: c.User}
			if o.Shown { // the receipt is stored: who misses the event sees it with the next one
				moved.Shown, moved.Except, moved.CausedAt = o.Message, c.Socket, c.At
			}
			s.markers.Tell(r.Room, moved)
		}
		done(o.Marker, err)
	})
}

func (o *ReadOutcome) refusal(act access.Act) error {
	err := o.Refuse(act, time.Now())
	if err == nil && !o.MessageExists {
		err = fault.New(fault.NotFound, "Message not found")
	}
	return err
}

// MarkUnread moves the caller's marker back to a sequence: what came behind it is unread. Others see nothing of it. Where the marker is not
// behind the sequence it stays.
func (s *Service) MarkUnread(ctx context.Context, c Caller, room chat.RoomID, seq uint64) (chat.Marker, error) {
	if _, err := s.may(ctx, c, room, access.Attend); err != nil {
		return chat.Marker{}, err
	}
	marker, err := s.store.Marker(ctx, c.of(room))
	if err == nil && marker.Seq > seq {
		if err = s.store.SetBack(ctx, c.of(room), seq, c.Asker.Until); err == nil {
			s.markers.Tell(room, markers.Moved{User: c.User})
			marker, err = s.store.Marker(ctx, c.of(room))
		}
	}
	return marker, err
}
