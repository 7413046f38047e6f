package revocations

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/hub"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestLately: for two seconds after a revocation an answer about its user may be older.
func TestLately(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(Config{Registry: hub.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
		message, err := proto.Marshal(&eventv1.Revocation{Id: 1, UserId: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		if v.Lately("ann") {
			t.Error("lately revoked, before anything was")
		}
		v.Received(message)
		if !v.Lately("ann") || v.Lately("bob") {
			t.Errorf("lately revoked: ann %v, bob %v, want true, false", v.Lately("ann"), v.Lately("bob"))
		}
		time.Sleep(latelyFor - time.Millisecond)
		if !v.Lately("ann") {
			t.Error("forgotten too early")
		}
		time.Sleep(2 * time.Millisecond)
		if v.Lately("ann") {
			t.Error("still remembered")
		}
	})
}
