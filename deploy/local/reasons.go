package main

import (
	"context"
	"log/slog"
	"sync"
)

// reasons remembers the last complaint of each service, for the terminal: whoever waits is told why.
type reasons struct {
	mu   sync.Mutex
	last map[string]string // by service; guarded by mu
}

// of returns what a service complained about last, "" when it has not.
func (r *reasons) of(service string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[service]
}

func (r *reasons) note(service, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[service] = reason
}

// log returns a logger that writes to next, and notes warnings and errors as those of service.
func (r *reasons) log(next *slog.Logger, service string) *slog.Logger {
	return slog.New(noting{next.With(slog.String("service", service)).Handler(), r, service})
}

// noting is the handler that notes.
type noting struct {
	slog.Handler
	reasons *reasons
	service string
}

// Enabled implements slog.Handler: complaints are noted even where they are not logged.
func (n noting) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || n.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (n noting) Handle(ctx context.Context, record slog.Record) error {
	if record.Level >= slog.LevelWarn {
		record.Attrs(func(attr slog.Attr) bool {
			if attr.Key == "error" { // others are advice
				n.reasons.note(n.service, record.Message+": "+attr.Value.String())
			}
			return true
		})
	}
	if !n.Handler.Enabled(ctx, record.Level) {
		return nil
	}
	return n.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (n noting) WithAttrs(attrs []slog.Attr) slog.Handler {
	return noting{n.Handler.WithAttrs(attrs), n.reasons, n.service}
}

// WithGroup implements slog.Handler.
func (n noting) WithGroup(name string) slog.Handler {
	return noting{n.Handler.WithGroup(name), n.reasons, n.service}
}
