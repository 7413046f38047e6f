package presence

import (
	"strconv"
	"testing"
	"time"
)

// TestChangesAreBounded: more users may come and go than messages can name, for as long as it takes.
func TestChangesAreBounded(t *testing.T) {
	now := time.Now()
	c := newChanges()
	for i := range maxChanges + 10 {
		c.online(UserID(strconv.Itoa(i)), now)
	}
	if len(c.byUser) != maxChanges {
		t.Errorf("%d changes wait, want %d", len(c.byUser), maxChanges)
	}
	c.offline("0", now, now)
	if c.byUser["0"].online {
		t.Error("a user whose coming waits to be published has left, and the change says online")
	}
}
