package rules

import (
	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/proto/fault"
)

// What guests may not do stands here, and is asked where it is done: they make no rooms, and are in rooms nothing more than guests, so that
// they own, manage and inherit none. Whatever else they do goes like what others do.

// role is what a user becomes in a room who is invited to be something there.
func (i Invited) role() access.Role {
	switch {
	case i.User.Guest():
		return access.RoleGuest
	case i.Role == "":
		return access.RoleMember
	}
	return i.Role
}

// CheckRole refuses a guest more than a membership.
func (i Invited) CheckRole() error {
	if i.User.Guest() && i.Role.Above(access.RoleMember) {
		return errGuest()
	}
	return nil
}

func errGuest() error {
	return fault.Because(fault.Forbidden, fault.ReasonNotAllowed, "A guest stays a guest")
}

func errGuestRoom() error {
	return fault.Because(fault.Forbidden, fault.ReasonNotAllowed, "Guests make no rooms")
}
