package limits_test

import (
	"strings"
	"testing"

	"github.com/starling-chat/starling/proto/limits"
)

func TestIsGuestID(t *testing.T) {
	const id = "01909a7e-5d2c-7c1f-8a3b-0123456789ab"
	if guest := limits.GuestID(id); !limits.IsGuestID(guest) || !limits.ValidUserID(guest) {
		t.Errorf("%q is no valid id of a guest", guest)
	}
	for _, other := range []string{
		"", "guest:", id, "Guest:" + id, "guest:bob", "guest:" + strings.ToUpper(id), "guest:" + id + "a", "guest:" + id[1:], "guest:" + strings.Replace(id, "-7", "-4", 1),
		"guest:" + strings.ReplaceAll(id, "-", "_"), "acme:guest:" + id, "guest:" + strings.Replace(id, "a", "g", 1),
	} {
		if limits.IsGuestID(other) {
			t.Errorf("IsGuestID(%q) = true, want false: it may be a user's of another login system", other)
		}
	}
}
