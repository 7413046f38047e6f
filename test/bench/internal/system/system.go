//go:build linux

// Package system starts the systems that are measured: Starling in one process (deploy/local) or in one process for each service, and the
// reference server in Node. Each system has private data, which is removed at its end.
package system

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/internal/launch"
	"github.com/starling-chat/starling/test/internal/proc"
)

// Role is a part of a system whose use of CPU and memory is reported by itself.
type Role struct {
	Name string
	PIDs []int
	Tree bool // with all descendants
	// Server marks the processes that clients are connected to. Memory of a connection is measured on them.
	Server bool
}

// CPU is the time that the role's processes have spent.
func (r Role) CPU() (total time.Duration) {
	for _, pid := range r.PIDs {
		if r.Tree {
			total += proc.CPUTree(pid)
		} else {
			total += proc.CPU(pid)
		}
	}
	return total
}

// System is something that answers Socket.IO clients.
type System struct {
	Name      string
	Addresses []netip.AddrPort
	Secret    string // of HS256 tokens
	Roles     []Role
	Admins    []string // host:port of the profiles of the processes that clients are connected to, as far as they are known
	Database  string   // URL of the PostgreSQL of a system that Split has started
	NATS      string   // host:port where the NATS of such a system tells about itself

	log   *tail
	stops []func(context.Context)
}

// Stop ends the system's processes in reverse order and removes its data.
func (s *System) Stop(ctx context.Context) {
	for _, v := range slices.Backward(s.stops) {
		v(ctx)
	}
	s.stops = nil
}

func (s *System) onStop(f func(context.Context)) { s.stops = append(s.stops, f) }

// start starts a process that Stop ends; the process gets 10 s for that.
func (s *System) start(p *launch.Process) error {
	if err := p.Start(); err != nil {
		return err
	}
	s.onStop(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_ = p.Terminate(ctx)
	})
	return nil
}

// ready asks every gateway whether it serves.
func (s *System) ready(ctx context.Context) error { return launch.GatewaysReady(ctx, s.Addresses) }

// Log is the end of what the system's processes have written.
func (s *System) Log() string {
	if s.log == nil {
		return ""
	}
	return s.log.String()
}

// Env is what starting a system needs.
type Env struct {
	Root        string // of the repository
	DatabaseURL string // used instead of private PostgreSQL servers where set
	Binary      string // of deploy/local, used instead of building it where set
	// PresenceScope is Starling's PRESENCE_SCOPE; "" is its default.
	PresenceScope string
	// Settings are more of Starling's settings, as "NAME=value".
	Settings []string
	Say      func(format string, args ...any)
	Log      io.Writer // gets what the processes write; may be nil
}

// startTimeout bounds a start with everything: initdb, migrations.
const startTimeout = 2 * time.Minute

// scratch makes a folder for the run, which everybody may enter: PostgreSQL runs as another user.
func scratch(s *System) (string, error) {
	dir, err := os.MkdirTemp("", "starling-bench-")
	if err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	s.onStop(func(context.Context) { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		return "", fmt.Errorf("open the folder: %w", err)
	}
	return dir, nil
}

// build builds one package into the run's folder and gives the program's path.
func build(ctx context.Context, env Env, dir, pkg string) (binary string, err error) {
	env.Say("building %s", pkg)
	return filepath.Join(dir, filepath.Base(pkg)), launch.Build(ctx, env.Root, dir, "", pkg)
}

func secret() string {
	var raw [24]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}

// tail keeps the last lines that processes write, for the report of a failure, and passes everything on.
type tail struct {
	mu   sync.Mutex
	last []byte
	next io.Writer
}

const tailBytes = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	if extra := len(t.last) - tailBytes; extra > 0 {
		t.last = append(t.last[:0], t.last[extra:]...)
	}
	if t.next != nil {
		_, _ = t.next.Write(b)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}
