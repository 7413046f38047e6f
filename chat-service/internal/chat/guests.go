package chat

import (
	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/proto/limits"
)

// Guest tells whether the user is one without an account.
func (u UserID) Guest() bool { return limits.IsGuestID(string(u)) }

// RoleOf is the role of a member that counts: owner is who owns the room, stored what is stored of the member.
func RoleOf(user, owner UserID, stored access.Role) access.Role {
	switch {
	case user.Guest():
		return access.RoleGuest
	case user == owner:
		return access.RoleOwner
	}
	return stored
}
