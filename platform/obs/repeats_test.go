package obs

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRepeats: an hour of the same failure twice a second is a dozen lines, the first at once, and one for the end.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // a process that has run for a while
		var out bytes.Buffer
		r := Repeats{Log: slog.New(slog.NewTextHandler(&out, nil)), Message: "not read"}
		lines := func() int { return strings.Count(out.String(), "\n") }
		r.Over(t.Context())
		if lines() != 0 {
			t.Fatalf("Over without a failure logs %s", &out)
		}
		r.Failed(t.Context(), errors.New("away"))
		if got := out.String(); lines() != 1 || !strings.Contains(got, `level=WARN msg="not read" error=away`) {
			t.Fatalf("the first failure logs %q, want one line at once", got)
		}
		for range 7200 {
			time.Sleep(500 * time.Millisecond)
			r.Failed(t.Context(), errors.New("away"), slog.String("what", "rows"))
		}
		if n := lines(); n < 8 || n > 14 {
			t.Errorf("an hour of failures has %d lines, want about ten:\n%s", n, &out)
		}
		out.Reset()
		r.Over(t.Context())
		r.Over(t.Context())
		if got := out.String(); lines() != 1 || !strings.Contains(got, "over=true failures=7201 for=1h0m0s") {
			t.Errorf("the end logs %q, want one line that sums up", got)
		}

		out.Reset()
		time.Sleep(time.Minute)
		r.Failed(t.Context(), errors.New("away again"))
		if lines() != 1 {
			t.Errorf("the next outage logs %q, want one line at once", &out)
		}
		out.Reset()
		for range 600 { // comes and goes for ten minutes
			r.Over(t.Context())
			time.Sleep(time.Second)
			r.Failed(t.Context(), errors.New("flaps"))
		}
		if n := lines(); n > 125 {
			t.Errorf("ten minutes of coming and going have %d lines, want two each ten seconds at most", n)
		}
	})
}
