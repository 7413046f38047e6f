package securitylog

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/starling-chat/starling/auth-service/internal/auth"
)

// TestFloodIsSampled: what strangers cause at will is one record a second that tells how many are missing; the counter has all, and
// what matters one by one is there one by one.
func TestFloodIsSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&out, nil)))
		lines := func() int { return strings.Count(out.String(), "\n") }
		limited := auth.Event{Act: auth.ActLogin, Result: auth.ResultLimited, Address: "192.0.2.1"}
		for range 1000 {
			l.Record(t.Context(), limited)
		}
		if got := lines(); got != 1 {
			t.Errorf("1000 limited logins at once are %d records, want 1", got)
		}
		time.Sleep(interval)
		l.Record(t.Context(), limited)
		if got := out.String(); lines() != 2 || !strings.Contains(got, "skipped=999") {
			t.Errorf("a second later there are %d records, want 2 and the second with skipped=999:\n%s", lines(), got)
		}
		if got := testutil.ToFloat64(l.events.WithLabelValues("login", "limited", "")); got != 1001 {
			t.Errorf("the counter says %v, want 1001", got)
		}
		before := lines()
		for range 10 {
			for _, e := range []auth.Event{
				{Act: auth.ActLogin, Result: auth.ResultOK},
				{Act: auth.ActLogin, Result: auth.ResultFailed},
				{Act: auth.ActRefresh, Result: auth.ResultReused},
				{Act: auth.ActRevoke, Result: auth.ResultOK},
			} {
				l.Record(t.Context(), e)
			}
			l.Record(t.Context(), auth.Event{Act: auth.ActToken, Result: auth.ResultOK}) // every CONNECT has one
		}
		if got := lines() - before; got != 40 {
			t.Errorf("10 times four acts that matter one by one are %d records, want 40", got)
		}
	})
}
