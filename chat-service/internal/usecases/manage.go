package usecases

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// UpdateRoom changes what a room shows and what is allowed there, and gives its version then.
func (s *Service) UpdateRoom(ctx context.Context, c Caller, u rules.Update, done func(version uint64, err error)) error {
	u.Origin = c.in(u.Room)
	var version uint64
	return s.act(ctx, func(err error) { done(version, err) }, func(ctx context.Context) error {
		o, err := s.manage(ctx, c, u)
		version = o.Version
		return err
	})
}

// ArchiveRoom makes a room one that can be read only.
func (s *Service) ArchiveRoom(ctx context.Context, c Caller, room chat.RoomID, done func(error)) error {
	return s.act(ctx, done, func(ctx context.Context) error {
		_, err := s.manage(ctx, c, rules.Archive{Origin: c.in(room)})
		return err
	})
}

// manage does an act on a room. When it is done, nobody goes by what the room was before.
func (s *Service) manage(ctx context.Context, c Caller, command rules.Command) (rules.Outcome, error) {
	room := rules.RoomOf(command)
	o, err := s.do(ctx, c.keyed(command), s.mayModerate(ctx, c, room))
	if err == nil && o.Changed {
		s.standings.ForgetRoom(room)
		s.evictor.Evict(ctx, room, nil, 0)
	}
	return o, err
}

// evictedAtOnce bounds the users of one eviction.
const evictedAtOnce = 1000

// DeleteRoom ends a room. When it is done, no gateway delivers anything of it to anybody. Its members are told by their logs: the first ones
// here; the others, and where this fails all, by what removes the room in the background.
func (s *Service) DeleteRoom(ctx context.Context, c Caller, room chat.RoomID, done func(error)) error {
	return s.act(ctx, done, func(ctx context.Context) error {
		o, err := s.manage(ctx, c, rules.Delete{Origin: c.in(room)})
		if err != nil {
			return err
		}
		told, err := s.store.Farewell(ctx, room)
		switch {
		case err != nil:
			s.log.LogAttrs(ctx, slog.LevelWarn, "members of a deleted room not told, they will be later", slog.Any("error", err))
		case len(told.Events) > 0:
			s.publisher.Committed(told)
		}
		users, err := s.store.Members(ctx, room) // they are stored a while longer
		if err != nil {
			return err
		}
		var chunks sync.WaitGroup
		for chunk := range slices.Chunk(users, evictedAtOnce) {
			chunks.Go(func() { s.evict(ctx, room, chunk, o.Seq) })
		}
		chunks.Wait()
		return nil
	})
}
