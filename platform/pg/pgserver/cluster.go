package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/starling-chat/starling/platform/run"
)

// ensureCluster creates the cluster where there is none and returns the
// superuser's password.
func (s *Server) ensureCluster(ctx context.Context) (password string, err error) {
	if password, err = s.home.password(); err != nil {
		return "", err
	}
	if _, err := os.Stat(s.home.data()); err == nil {
		return password, nil
	}
	s.cfg.Progress("creating the database")
	fresh := s.home.file("data.new") // renamed when complete
	if err := os.RemoveAll(fresh); err != nil {
		return "", fmt.Errorf("remove an incomplete cluster: %w", err)
	}
	cmd := s.home.command(ctx, filepath.Join(s.bin, "initdb"), "-D", fresh, "-U", superuser,
		"--pwfile="+s.home.file("password"), "-A", "scram-sha-256", "-E", "UTF8", "--no-locale")
	if s.cfg.Checksums {
		cmd.Args = append(cmd.Args, "--data-checksums")
	}
	if !s.cfg.Durable {
		cmd.Args = append(cmd.Args, "--no-sync")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("create cluster in %s: %w: %s", s.home.dir, err, strings.TrimSpace(string(out)))
	}
	if err := os.Rename(fresh, s.home.data()); err != nil {
		return "", fmt.Errorf("create cluster: %w", err)
	}
	return password, nil
}

// password reads the superuser's password or makes one up for a new cluster.
func (h *home) password() (string, error) {
	path := h.file("password")
	text, err := os.ReadFile(path) //nolint:gosec // inside the data directory
	if err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the database password: %w", err)
	}
	if _, err := os.Stat(h.data()); err == nil {
		return "", fmt.Errorf("the database in %s has lost its password file", h.dir)
	}
	password := rand.Text()
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write the database password: %w", err)
	}
	if err := h.chown(path); err != nil {
		return "", fmt.Errorf("write the database password: %w", err)
	}
	return password, nil
}

const (
	orphanPoll    = 20 * time.Millisecond
	orphanTimeout = 5 * time.Second // per signal
)

// stopOrphan ends a server that was left behind by a killed parent. The lock is
// held, so nobody else can own it. The pid may meanwhile belong to another
// process, which stays untouched.
func (h *home) stopOrphan(ctx context.Context, log *slog.Logger) error {
	pidFile := filepath.Join(h.data(), "postmaster.pid")
	text, err := os.ReadFile(pidFile) //nolint:gosec // inside the data directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read postmaster.pid: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err == nil && pid > 1 && isPostmaster(pid, h.data()) {
		log.LogAttrs(ctx, slog.LevelWarn, "stopping a left-over PostgreSQL", slog.Int("pid", pid))
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
			_ = syscall.Kill(pid, signal)
			for end := time.Now().Add(orphanTimeout); isPostmaster(pid, h.data()) && time.Now().Before(end); {
				if !run.Pause(ctx, orphanPoll) {
					return fmt.Errorf("stop a left-over PostgreSQL: %w", ctx.Err())
				}
			}
		}
		if isPostmaster(pid, h.data()) {
			return fmt.Errorf("left-over PostgreSQL %d does not stop", pid)
		}
	}
	if err := os.Remove(pidFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a stale postmaster.pid: %w", err)
	}
	return nil
}

// tail logs the server's lines and keeps the last ones for error messages.
type tail struct {
	ctx context.Context // never ends; for the logger
	log *slog.Logger

	mu   sync.Mutex
	text []byte // guarded by mu, at most tailBytes
}

const tailBytes = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		t.log.LogAttrs(t.ctx, slog.LevelDebug, "postgresql", slog.String("line", strings.TrimSpace(line)))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailBytes):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
