package load

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/launch"
)

const secret = "0123456789abcdef0123456789abcdef"

// newSystem builds all of Starling in one process, with two gateways.
func newSystem(t *testing.T) *launch.Local {
	t.Helper()
	root, err := launch.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "load-") //nolint:usetesting // PostgreSQL's user has to reach it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary, err := launch.BuildLocal(t.Context(), root, dir)
	if err != nil {
		t.Fatal(err)
	}
	first, err := launch.NewPorts().TakeRow(2)
	if err != nil {
		t.Fatal(err)
	}
	s := launch.NewLocal(launch.LocalSpec{
		Binary: binary, Data: filepath.Join(dir, "data"), FirstPort: first, Gateways: 2, Output: t.Output(),
		Args: []string{"--log-file-level=warn"}, Env: []string{"JWT_SECRET=" + secret, "AUTH_AUTO_PROVISION=true", "REGISTRATION=true", "ARGON2_MEMORY_KIB=8192", "STALL_LIMIT=1h"},
	})
	t.Cleanup(func() { s.Clean(context.Background()) })
	return s
}

func start(ctx context.Context, t *testing.T, s *launch.Local) {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := launch.Await(ctx, launch.Poll, s.Ready, s.Process); err != nil {
		t.Fatal(err)
	}
}

// TestLoad runs the clients through a storm, a stalled client, and a kill of the whole system.
func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the real system")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute) // guards against hanging
	defer cancel()
	s := newSystem(t)
	start(ctx, t, s)
	defer func() { _ = s.Terminate(context.WithoutCancel(ctx)) }()
	var gateways []string
	for _, a := range s.Addresses {
		gateways = append(gateways, a.String())
	}
	l := New(Config{
		Seed: 7, Clients: 60, Rooms: 15, Rate: 100, Gateways: gateways, Secret: secret, Start: time.Now(),
		Log: slog.New(slog.DiscardHandler),
	})
	if err := l.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	running, stopLoad := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- l.Run(running) }()
	_ = pause(ctx, time.Second)
	if dropped := l.DropAll(); len(dropped) != 60 {
		t.Errorf("DropAll() = %d users, want 60", len(dropped))
	}
	if err := l.await(ctx, 0, func() error {
		n := 0 // other devices come and go
		for _, c := range l.clients {
			if c.conn.isUp() {
				n++
			}
		}
		if n != 60 || l.Status().Reconnects < 60 {
			return fmt.Errorf("%d connected after the storm, want 60", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	l.Stall(l.Slow()[0], time.Second)
	s.Kill()
	start(ctx, t, s)
	const enough, acts = 100, 50
	if err := l.await(ctx, 0, func() error {
		if s := l.Status(); s.Acked < enough || s.Acts < acts {
			return fmt.Errorf("%d messages and %d acts acked, want %d and %d", s.Acked, s.Acts, enough, acts)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	stopLoad()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v", err)
	}
	if err := l.Finish(ctx); err != nil {
		t.Errorf("Finish() = %v", err)
	}
	var h history.History
	l.Into(&h)
	t.Logf("%+v", l.Status())
	consistent(t, &h)
}
