//go:build !sabotage

package chatservice

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
)

// sabotaged is what the Writer works with; a build with the tag sabotage may break it on purpose.
func sabotaged(_ *pgxpool.Pool, store *postgres.Store, publisher usecases.Publisher) (usecases.Store, usecases.Publisher) {
	return store, publisher
}

// evicting is who takes users out of rooms on gateways; a build with the tag sabotage may have nobody do it.
func evicting(e usecases.Evictor) usecases.Evictor { return e }

// reader reads how rooms stand, for inboxes.
type reader = func(context.Context, []chat.RoomID) ([]chat.Activity, error)

// reading is by what inboxes are told how rooms stand; a build with the tag sabotage may have it lag.
func reading(read reader) reader { return read }
