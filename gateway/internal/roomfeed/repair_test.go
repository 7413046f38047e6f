package roomfeed

import (
	"testing"
	"time"
)

// TestGapThatComesWhileARepairEnds is not forgotten.
func TestGapThatComesWhileARepairEnds(t *testing.T) {
	q := newRepairs(&Feed{})
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
	q := newRepairs(&Feed{})
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
