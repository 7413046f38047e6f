package limits_test

import (
	"strings"
	"testing"

	"github.com/starling-chat/starling/proto/limits"
)

func TestUserLog(t *testing.T) {
	for _, user := range []string{"ann", "user:ann", "ü", strings.Repeat("x", limits.UserIDChars)} {
		id := limits.UserLog(user)
		if got, ok := limits.UserOfLog(id); got != user || !ok {
			t.Errorf("UserOfLog(%q) = %q, %v, want %q, true", id, got, ok, user)
		}
		if limits.ValidRoomID(id) {
			t.Errorf("ValidRoomID(%q) = true: a client could name the log of %q", id, user)
		}
		if _, ok := limits.UserOfLog(user); ok {
			t.Errorf("UserOfLog(%q) = true, want false for a room", user)
		}
	}
}
