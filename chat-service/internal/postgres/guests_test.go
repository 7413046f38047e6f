package postgres_test

import (
	"testing"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// TestGuestsInheritNothing: a room whose owner leaves goes to who came later rather than to a guest, and to nobody when only guests are left; the
// owner of a private room leaves guests behind as if nobody were there.
func TestGuestsInheritNothing(t *testing.T) {
	s := open(t, database(t))
	const guest = chat.UserID("guest:0197f000-0000-7000-8000-000000000001")
	commit(t, s, join("r", "ann"))
	joinAs := rules.Join{Origin: by("r", guest)}
	commit(t, s, joinAs)
	commit(t, s, join("r", "bob"))
	if role := roleIn(t, s, "r", guest); role != access.RoleGuest {
		t.Errorf("a guest is %s in a room, want %s", role, access.RoleGuest)
	}
	commit(t, s, leave("r", "ann"))
	if role := roleIn(t, s, "r", "bob"); role != access.RoleOwner {
		t.Errorf("bob is %s when the owner has left, want %s", role, access.RoleOwner)
	}
	commit(t, s, leave("r", "bob"))
	if role := roleIn(t, s, "r", guest); role != access.RoleGuest {
		t.Errorf("a guest is %s when everybody has left, want %s", role, access.RoleGuest)
	}
	commit(t, s, join("r", "cid"))
	if role := roleIn(t, s, "r", "cid"); role != access.RoleOwner {
		t.Errorf("cid is %s in a room of guests, want %s", role, access.RoleOwner)
	}

	commit(t, s, rules.Create{Origin: by("p", "ann"), New: chat.NewRoom{Kind: access.Private}, Members: []rules.Invited{{User: guest, Role: access.RoleMember}}})
	if outcomes, _ := commit(t, s, leave("p", "ann")); outcomes[0].Err != nil {
		t.Errorf("the owner leaves a private room of guests: %v, want nil", outcomes[0].Err)
	}
	if role := roleIn(t, s, "p", guest); role != access.RoleGuest {
		t.Errorf("a guest is %s when the owner has left, want %s", role, access.RoleGuest)
	}
}
