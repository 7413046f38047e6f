package presence

import (
	"strconv"
	"testing"
	"time"
)

// TestNewsAreBounded: more users may come and go than messages can tell, for as long as it takes.
func TestNewsAreBounded(t *testing.T) {
	now := time.Now()
	n := newNews()
	for i := range maxChanges + 10 {
		n.came(UserID(strconv.Itoa(i)), now)
	}
	if len(n.changes) != maxChanges {
		t.Errorf("%d changes wait, want %d", len(n.changes), maxChanges)
	}
	n.left("0", now, now)
	if n.changes["0"].online {
		t.Error("a user whose coming waits to be told has left, and the change says online")
	}
}
