// Package securitylog keeps the log of what matters to security in auth-service, and counts it: who logged in, from where, who tried
// to, which tokens and keys were refused, and what backends revoked. One act is one record "security event"; it never holds a
// token, a key, a password or a name that somebody typed.
package securitylog

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/obs"
)

// interval is between two records of one kind that strangers can cause at will; the counters have all of them.
const interval = time.Second

var _ auth.Recorder = (*Log)(nil)

// Log is auth.Recorder.
type Log struct {
	log      *slog.Logger
	events   *prometheus.CounterVec
	samplers *obs.Samplers
}

// New registers starling_auth_security_events_total{event,result,cause}.
func New(registry prometheus.Registerer, log *slog.Logger) *Log {
	l := &Log{
		log: log, samplers: obs.NewSamplers(interval),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "starling", Subsystem: "auth", Name: "security_events_total",
			Help: "Logins, refreshes, tokens and keys shown, revocations, by result; cause says why a token was refused.",
		}, []string{"event", "result", "cause"}),
	}
	registry.MustRegister(l.events)
	l.begin()
	return l
}

// begin has every series that is known beforehand start at 0: the first increment of one that appears with it is no increase for those
// who watch.
func (l *Log) begin() {
	for _, act := range auth.Acts() {
		for _, result := range []auth.Result{auth.ResultOK, auth.ResultFailed, auth.ResultLimited, auth.ResultRefused, auth.ResultError} {
			l.events.WithLabelValues(string(act), string(result), "")
		}
	}
	l.events.WithLabelValues(string(auth.ActRefresh), string(auth.ResultReused), "")
	for _, cause := range auth.TokenCauses() {
		l.events.WithLabelValues(string(auth.ActToken), string(auth.ResultFailed), cause)
	}
}

// Record implements auth.Recorder.
func (l *Log) Record(ctx context.Context, e auth.Event) {
	l.events.WithLabelValues(string(e.Act), string(e.Result), e.Cause).Inc()
	if routine(e) {
		return
	}
	skipped := 0
	if atWill(e) {
		var ok bool
		if skipped, ok = l.samplers.Take(string(e.Act)+" "+string(e.Result)+" "+e.Cause, time.Now()); !ok {
			return
		}
	}
	level := slog.LevelInfo
	if e.Result != auth.ResultOK {
		level = slog.LevelWarn
	}
	l.log.LogAttrs(ctx, level, "security event", attrs(e, skipped)...)
}

// routine tells what happens all the time and is no news: the gateways' closing lines say whose sockets came and went.
func routine(e auth.Event) bool {
	return e.Result == auth.ResultOK && (e.Act == auth.ActToken || e.Act == auth.ActAPIKey || e.Act == auth.ActRefresh)
}

// atWill tells what strangers can cause as often as they like. A wrong password costs a hash, and hashes are bounded: each is logged.
func atWill(e auth.Event) bool {
	switch e.Result {
	case auth.ResultOK, auth.ResultReused:
		return false
	case auth.ResultFailed:
		return e.Act != auth.ActLogin
	default:
		return e.Act != auth.ActRevoke
	}
}

func attrs(e auth.Event, skipped int) []slog.Attr {
	list := []slog.Attr{slog.String("event", string(e.Act)), slog.String("result", string(e.Result))}
	for _, a := range []struct{ key, value string }{
		{"cause", e.Cause}, {"user_id", string(e.User)}, {"login_id", string(e.Login)}, {"address", e.Address}, {"api_key", e.Key}, {"name", e.Name},
	} {
		if a.value != "" {
			list = append(list, slog.String(a.key, a.value))
		}
	}
	if e.Act == auth.ActRevoke || e.Closed > 0 {
		list = append(list, slog.Int("closed", e.Closed))
	}
	if e.Count > 0 {
		list = append(list, slog.Int("count", e.Count))
	}
	if skipped > 0 {
		list = append(list, slog.Int("skipped", skipped))
	}
	return list
}
