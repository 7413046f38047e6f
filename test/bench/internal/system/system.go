//go:build linux

// Package system starts what is measured: Starling in one process (deploy/local) or in one process for each service, and the
// reference server in Node. Each has its own private data, which is removed at the end.
package system

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/process"
)

// Role names a part of a system whose use of CPU and memory is told apart.
type Role struct {
	Name string
	PIDs []int
	Tree bool // with all descendants
	// Server marks the process that clients are connected to: memory a connection is its.
	Server bool
}

// CPU is the time that the role's processes have spent.
func (r Role) CPU() (total time.Duration) {
	for _, pid := range r.PIDs {
		if r.Tree {
			total += process.CPUTree(pid)
		} else {
			total += process.CPU(pid)
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
	Admin     string // host:port of the profiles of the process that clients are connected to, or empty

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

// onStopChild stops a child; it gets 10 s.
func (s *System) onStopChild(c *process.Child) {
	s.onStop(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		c.Stop(ctx)
	})
}

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
	Say         func(format string, args ...any)
	Log         io.Writer // gets what the processes write; may be nil
}

// startTimeout bounds a start with everything: initdb, migrations.
const startTimeout = 2 * time.Minute

// FindRoot finds the repository from the working directory: the folder with go.work.
func FindRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run the benchmarks inside the repository: no go.work found")
		}
		dir = parent
	}
}

// scratch makes a folder for the run; PostgreSQL runs as another user and has to get through.
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

func build(ctx context.Context, env Env, pkg, binary string) error {
	env.Say("building %s", pkg)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, pkg) //nolint:gosec // constant packages
	cmd.Dir = env.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, bytes.TrimSpace(out))
	}
	return nil
}

// freePorts finds n consecutive ports on 127.0.0.1, below those that clients get.
func freePorts(ctx context.Context, n int) (first int, err error) {
	for range 100 {
		var b [2]byte
		_, _ = rand.Read(b[:]) // never fails
		first = 20_000 + (int(b[0])<<8|int(b[1]))%10_000
		if allFree(ctx, first, n) {
			return first, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row", n)
}

func allFree(ctx context.Context, first, n int) bool {
	for port := first; port < first+n; port++ {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", loopback(port).String())
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

func loopback(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)) //nolint:gosec // a port
}

func secret() string {
	var raw [24]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}

// healthy asks address for path.
func healthy(ctx context.Context, address, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", path, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", path, err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask for %s: status %s", path, strconv.Itoa(res.StatusCode))
	}
	return nil
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
