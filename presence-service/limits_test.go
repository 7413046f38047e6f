package presenceservice_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

// TestServiceLongestUserIDs: whoever auth-service lets in is seen online, and when they were last.
func TestServiceLongestUserIDs(t *testing.T) {
	t.Parallel()
	conn, db := bustest.New(t), emptyDatabase(t)
	online := watchOnline(t, conn)
	gateway := startGateway(t, conn, "g1")
	users := []string{strings.Repeat("星", limits.UserIDChars), strings.Repeat("𠮷", limits.UserIDChars)}
	slices.Sort(users)
	gateway.change(map[string]string{"s1": users[0], "s2": users[1]})
	startService(t, testConfig(conn.ConnectedUrl(), db.URL))
	online.await(time.Time{}, 30*time.Second, users...)

	left := time.Now()
	gateway.change(nil, "s1", "s2")
	online.await(left, 30*time.Second)
	for _, user := range users {
		eventually(t, 30*time.Second, "last seen is stored", func() bool {
			ack, refused := get(t, conn, fmt.Sprintf(`[{"userIds":[%q]}]`, user))
			if refused != nil {
				t.Fatalf("presence:get of %d bytes = %v, want an ack", len(user), refused)
			}
			return strings.Contains(ack, `"online":false,"lastSeen":"`)
		})
	}
	if _, refused := get(t, conn, fmt.Sprintf(`[{"userIds":[%q]}]`, users[0]+"x")); refused.GetCode() != string(fault.Invalid) {
		t.Errorf("presence:get of a user over the bound = %v, want invalid", refused)
	}
}
