package relay

import (
	"strings"
	"testing"
	"time"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestThrottle: while deliveries are behind, events wait; they go on when the gateway has caught up, and are refused when that
// takes too long.
func TestThrottle(t *testing.T) {
	w := newWorld(t, nil)
	do := w.take(t, &eventv1.Catalog{Batch: 10}, "do", echoAll)
	c := w.connect(t, "u")
	w.relay.throttle.report(1, 2*lagHigh)
	c.Say(`421["do",1]`, `422["do",2]`)
	w.relay.throttle.tick(time.Now())
	if got := do.got(); len(got) != 0 {
		t.Errorf("requests while behind: %v, want none", got)
	}
	w.relay.throttle.report(1, lagLow+1)
	w.relay.throttle.tick(time.Now())
	if got := do.got(); len(got) != 0 {
		t.Errorf("requests while nearly caught up: %v, want none", got)
	}
	w.relay.throttle.report(1, 0)
	c.WaitFor(t, "431[1]")
	c.WaitFor(t, "432[2]")

	w.relay.throttle.report(0, 2*lagHigh)
	c.Say(`423["do",3]`)
	w.relay.throttle.tick(time.Now().Add(2 * maxDelay))
	if got := c.WaitFor(t, "433"); !strings.Contains(got, `"unavailable"`) || !strings.Contains(got, `"retryAfterMs"`) {
		t.Errorf("ack of one that was delayed for long = %s, want unavailable with retryAfterMs", got)
	}
}
