package conformance

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The suites of the conformance server. Nothing is to come by time where it is not the question: a busy machine would have it come
// sooner than what is waited for.
const (
	protocolSuite = "protocol"
	// heartbeatSuite is the protocol's, with its heartbeats, and time for pongs.
	heartbeatSuite = "protocol, heartbeats"
	// impatientSuite is the protocol's with the times that official suites expect, silentSuite the same without heartbeats.
	impatientSuite = "protocol, impatient"
	silentSuite    = "protocol, silent"
	socketIOSuite  = "socket.io-client"
	engineIOSuite  = "engine.io-client"
)

// suite is a server of the tests: how it is started, and the variable that names another one.
type suite struct {
	elsewhere string
	args      []string
}

var suites = map[string]suite{
	protocolSuite:  {"CONFORMANCE_PROTOCOL_URL", []string{"-suite=protocol", "-ping-interval=25s", "-patience=30s"}},
	heartbeatSuite: {"CONFORMANCE_PROTOCOL_URL", []string{"-suite=protocol", "-patience=30s"}},
	impatientSuite: {"CONFORMANCE_PROTOCOL_URL", []string{"-suite=protocol"}},
	silentSuite:    {"CONFORMANCE_PROTOCOL_URL", []string{"-suite=protocol", "-ping-interval=25s"}},
	socketIOSuite:  {"CONFORMANCE_SOCKETIO_CLIENT_URL", []string{"-suite=socket.io-client", "-ping-interval=25s", "-patience=30s"}},
	engineIOSuite:  {"CONFORMANCE_ENGINEIO_CLIENT_URL", []string{"-suite=engine.io-client", "-ping-interval=25s", "-patience=30s"}},
}

// fixture starts one server for each suite at its first use; TestMain stops them.
type fixture struct {
	mu      sync.Mutex
	dir     string
	binary  string
	failure error
	running map[string]*process
}

type process struct {
	cmd *exec.Cmd
	url string
}

var servers = fixture{running: make(map[string]*process)}

func TestMain(m *testing.M) {
	code := m.Run()
	servers.stop()
	os.Exit(code)
}

// serverFor gives the base URL of a suite's server, without a slash at its end.
func serverFor(t *testing.T, name string) string {
	t.Helper()
	if url := os.Getenv(suites[name].elsewhere); url != "" {
		return strings.TrimSuffix(url, "/")
	}
	servers.mu.Lock()
	defer servers.mu.Unlock()
	if p := servers.running[name]; p != nil {
		return p.url
	}
	p, err := servers.start(suites[name])
	if err != nil {
		t.Fatalf("start the conformance server: %v", err)
	}
	servers.running[name] = p
	return p.url
}

func (f *fixture) start(s suite) (*process, error) {
	if f.binary == "" && f.failure == nil {
		f.failure = f.build()
	}
	if f.failure != nil {
		return nil, f.failure
	}
	return listening(exec.Command(f.binary, append([]string{"-addr=127.0.0.1:0"}, s.args...)...))
}

// listening starts a server that prints its address.
func listening(cmd *exec.Cmd) (*process, error) {
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_, url, ok := strings.Cut(strings.TrimSpace(line), "http://")
	if err != nil || !ok {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("no address in the first line of output %q: %w", line, err)
	}
	return &process{cmd: cmd, url: "http://" + url}, nil
}

func (f *fixture) build() error {
	dir, err := os.MkdirTemp("", "starling-conformance-")
	if err != nil {
		return err
	}
	f.dir = dir
	binary := filepath.Join(dir, "conformance")
	build := exec.Command("go", "build", "-o", binary, "./cmd/conformance")
	build.Dir = filepath.Join("..", "..", "gateway")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	f.binary = binary
	return nil
}

func (f *fixture) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.running {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
		_ = p.cmd.Wait()
		late.Stop()
	}
	if f.dir != "" {
		_ = os.RemoveAll(f.dir)
	}
}
