package load

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

const secret = "0123456789abcdef0123456789abcdef"

// system is all of Starling in one process, with two gateways.
type system struct {
	t            *testing.T
	binary, data string
	first        int
	process      *exec.Cmd
}

func (s *system) gateways() []string {
	return []string{fmt.Sprintf("127.0.0.1:%d", s.first), fmt.Sprintf("127.0.0.1:%d", s.first+1)}
}

func build(t *testing.T) *system {
	t.Helper()
	dir, err := os.MkdirTemp("", "load-") //nolint:usetesting // PostgreSQL's user has to reach it
	if err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, binary: filepath.Join(dir, "starling"), data: filepath.Join(dir, "data"), first: freePorts(t)}
	cmd := exec.Command("go", "build", "-o", s.binary, "./deploy/local")
	cmd.Dir = "../../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build deploy/local: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		_ = exec.Command(s.binary, "--clean", "--data="+s.data).Run()
		_ = os.RemoveAll(dir)
	})
	return s
}

func freePorts(t *testing.T) int {
	t.Helper()
	for range 20 {
		a, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := a.Addr().(*net.TCPAddr).Port
		b, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		_ = a.Close()
		if err == nil {
			_ = b.Close()
			return port
		}
	}
	t.Fatal("no two free ports in a row")
	return 0
}

func (s *system) start(ctx context.Context) {
	s.t.Helper()
	var log bytes.Buffer
	s.process = exec.Command(s.binary, "--gateways=2", "--listen="+s.gateways()[0], "--data="+s.data, "--log-file-level=warn")
	s.process.Env = append(os.Environ(), "JWT_SECRET="+secret, "AUTH_AUTO_PROVISION=true")
	s.process.Stdout, s.process.Stderr = &log, &log
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	for _, address := range s.gateways() {
		for path := "http://" + address + "/.well-known/jwks.json"; ; {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
			res, err := http.DefaultClient.Do(req)
			if err == nil {
				_ = res.Body.Close()
				if res.StatusCode == http.StatusOK {
					break
				}
			}
			if pause(ctx, 50*time.Millisecond) != nil {
				s.t.Fatalf("Starling did not start: %v\n%s", err, log.String())
			}
		}
	}
}

func (s *system) stop(signal os.Signal) {
	_ = s.process.Process.Signal(signal)
	_ = s.process.Wait()
}

// TestLoad runs the clients through a storm, a stalled client, and a kill of the whole system.
func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the real system")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := build(t)
	s.start(ctx)
	defer func() { s.stop(os.Interrupt) }()
	l := New(Config{
		Seed: 7, Clients: 60, Rooms: 15, Rate: 100, Gateways: s.gateways(), Secret: secret, Start: time.Now(),
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
		if n := l.Status().Connected; n != 60 || l.Status().Reconnects < 60 {
			return fmt.Errorf("%d connected after the storm, want 60", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	l.Stall(l.Slow()[0], time.Second)
	s.stop(os.Kill)
	s.start(ctx)
	_ = pause(ctx, 2*time.Second)
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
	if l.Status().Acked < 100 {
		t.Errorf("%d messages acked, want at least 100", l.Status().Acked)
	}
}
