package services

import (
	"testing"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

func TestRefusals(t *testing.T) {
	f := &fault.Error{Kind: fault.RateLimited, Message: `say "less"`, RetryAfter: 1500 * time.Microsecond}
	if got, want := string(RefusalAck(f)), `[{"ok":false,"error":{"code":"rate_limited","message":"say \"less\"","retryAfterMs":1}}]`; got != want {
		t.Errorf("RefusalAck = %s, want %s", got, want)
	}
	if got, want := string(RefusalEvent("a:b", fault.New(fault.Invalid, "x"))), `[{"event":"a:b","code":"invalid","message":"x"}]`; got != want {
		t.Errorf("RefusalEvent = %s, want %s", got, want)
	}
}
