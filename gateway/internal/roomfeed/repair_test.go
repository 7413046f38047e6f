package roomfeed

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/proto/limits"
)

// idle gives the repairs of a feed that does not run.
func idle() *repairs {
	return New(Config{}, Deps{Hub: hub.New(1, sessiontest.Stats(), slog.New(slog.DiscardHandler))}).repairs
}

// TestBacklogIsNoLoss: a gateway that is busy is behind the heads of its rooms. What waits in its memory is not fetched once more, which
// would cost it even more time; a gap is closed all the same.
func TestBacklogIsNoLoss(t *testing.T) {
	q := idle()
	shard := &q.feed.shards[0]
	shard.msgs <- &nats.Msg{}
	shard.taken.Add(1) // one is being handled, one waits
	q.request("r", 7)
	q.request(limits.UserLog("u"), 7)
	soon := time.Now().Add(time.Hour)
	if got := q.begin(soon, 8); len(got) != 0 {
		t.Fatalf("begin = %v while messages wait, want none", got)
	}
	q.request("gap", 0)
	if got := q.begin(soon, 8); len(got) != 1 || got[0] != "gap" {
		t.Fatalf("begin = %v, want the room with a gap", got)
	}
	shard.handled.Add(1)
	if got := q.begin(soon, 8); len(got) != 0 {
		t.Fatalf("begin = %v before the last message was handled, want none", got)
	}
	<-shard.msgs
	shard.taken.Add(1)
	shard.handled.Add(1)
	shard.msgs <- &nats.Msg{} // what comes later is not waited for
	if got := q.begin(soon, 8); len(got) != 2 {
		t.Fatalf("begin = %v, want both rooms", got)
	}
	q.request("behind", 7)
	q.request("behind", 0)
	if got := q.begin(soon, 8); len(got) != 1 {
		t.Errorf("begin = %v after a gap was found in a room that is behind, want it", got)
	}
}

// TestGapThatComesWhileARepairEnds is not forgotten.
func TestGapThatComesWhileARepairEnds(t *testing.T) {
	q := idle()
	soon := time.Now().Add(time.Hour)
	q.request("r", 0)
	if got := q.begin(soon, 8); len(got) != 1 {
		t.Fatalf("begin = %v, want the room", got)
	}
	q.request("r", 0) // the repair has looked already and found nothing to do
	if got := q.begin(soon, 8); len(got) != 0 {
		t.Fatalf("begin = %v while it runs, want none: one repair of a room at a time", got)
	}
	q.end("r", false)
	if got := q.begin(soon, 8); len(got) != 1 {
		t.Fatalf("begin = %v after a gap was found meanwhile, want the room", got)
	}
	q.end("r", false)
	if len(q.due) != 0 {
		t.Errorf("due = %v in the end, want none", q.due)
	}
}

// TestFailedRepair: a repair that failed is tried again later.
func TestFailedRepair(t *testing.T) {
	q := idle()
	q.request("r", 0)
	now := time.Now()
	if got := q.begin(now, 8); len(got) != 1 {
		t.Fatalf("begin = %v, want the room", got)
	}
	q.end("r", true)
	if got := q.begin(now, 8); len(got) != 0 {
		t.Errorf("begin = %v right after a failure, want none", got)
	}
	if got := q.begin(time.Now().Add(2*repairRetry), 8); len(got) != 1 {
		t.Errorf("begin = %v later, want the room", got)
	}
}
