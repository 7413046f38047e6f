package chatservice_test

import (
	"testing"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestGone: a guest who is over, and a deleted user, leave their rooms, as others see it; direct rooms stay, and nobody else leaves.
func TestGone(t *testing.T) {
	const guest, other = "guest:0197f000-0000-7000-8000-000000000001", "guest:0197f000-0000-7000-8000-000000000002"
	s := newSystem(t, 1)
	for _, room := range []string{"r", "s"} {
		s.join("ann", room)
		s.join(guest, room)
	}
	s.join(other, "r")
	s.join("eve", "r")
	direct := s.ack("ann", "/", "room:open", `[{"userIds":["`+guest+`"]}]`)["room"].(map[string]any)["roomId"].(string)
	gone := func(users ...string) {
		t.Helper()
		var names []*eventv1.UserName
		for _, user := range users {
			names = append(names, &eventv1.UserName{UserId: user, Gone: true})
		}
		s.announce(names...)
	}
	members := func(room string) float64 {
		t.Helper()
		count, _ := s.ack("ann", "/", "room:members", `["`+room+`"]`)["count"].(float64)
		return count
	}
	for range 2 { // the second time nothing is left to do
		gone(guest, "", "guest:bob", "nobody")
		for room, want := range map[string]float64{"r": 3, "s": 1, direct: 2} {
			if got := members(room); got != want {
				t.Errorf("%v members in %s after a guest is gone, want %v", got, room, want)
			}
		}
	}
	s.announce(called("ann", "Ann", 10), &eventv1.UserName{UserId: other, Gone: true}, &eventv1.UserName{UserId: "eve", Gone: true})
	if got := members("r"); got != 1 {
		t.Errorf("%v members in r after both guests and eve are gone, want 1", got)
	}
}
