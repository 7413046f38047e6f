//go:build !sabotage

package chatservice

import (
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
)

// sabotaged is what the Writer works with; a build with the tag sabotage may break it on purpose.
func sabotaged(store *postgres.Store, publisher chat.Publisher) (chat.Store, chat.Publisher) {
	return store, publisher
}
