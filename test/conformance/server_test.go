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

// The suites of the conformance server, with the variable that names another server for each.
const (
	protocolSuite = "protocol"
	socketIOSuite = "socket.io-client"
	engineIOSuite = "engine.io-client"
)

var elsewhere = map[string]string{
	protocolSuite: "CONFORMANCE_PROTOCOL_URL",
	socketIOSuite: "CONFORMANCE_SOCKETIO_CLIENT_URL",
	engineIOSuite: "CONFORMANCE_ENGINEIO_CLIENT_URL",
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
func serverFor(t *testing.T, suite string) string {
	t.Helper()
	if url := os.Getenv(elsewhere[suite]); url != "" {
		return strings.TrimSuffix(url, "/")
	}
	servers.mu.Lock()
	defer servers.mu.Unlock()
	if p := servers.running[suite]; p != nil {
		return p.url
	}
	p, err := servers.start(suite)
	if err != nil {
		t.Fatalf("start the conformance server: %v", err)
	}
	servers.running[suite] = p
	return p.url
}

func (f *fixture) start(suite string) (*process, error) {
	if f.binary == "" && f.failure == nil {
		f.failure = f.build()
	}
	if f.failure != nil {
		return nil, f.failure
	}
	return listening(exec.Command(f.binary, "-suite", suite, "-addr", "127.0.0.1:0"))
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
		late := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
		_ = p.cmd.Wait()
		late.Stop()
	}
	if f.dir != "" {
		_ = os.RemoveAll(f.dir)
	}
}
