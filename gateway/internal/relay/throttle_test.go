package relay

import (
	"strings"
	"testing"
	"time"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestThrottle: while deliveries are behind, client events wait in their order; when that takes too long, they are refused.
func TestThrottle(t *testing.T) {
	const far = time.Hour
	w := newWorld(t, nil)
	do := w.take(t, &eventv1.Catalog{Batch: 10}, "do", echoAll)
	c := w.connect(t, "u")
	w.relay.throttle.Report(1, far)
	c.Say(`421["do",1]`, `422["do",2]`)
	w.relay.release(time.Now())
	if got := do.got(); len(got) != 0 {
		t.Errorf("requests while behind: %v, want none", got)
	}
	w.relay.throttle.Report(1, 0)
	c.WaitFor(t, "431[1]")
	c.WaitFor(t, "432[2]")

	w.relay.throttle.Report(0, far)
	c.Say(`423["do",3]`)
	w.relay.release(time.Now().Add(far))
	if got := c.WaitFor(t, "433"); !strings.Contains(got, `"unavailable"`) || !strings.Contains(got, `"retryAfterMs"`) {
		t.Errorf("ack of one that was delayed for long = %s, want unavailable with retryAfterMs", got)
	}
}
