package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starling-chat/starling/platform/run"
)

// patience bounds each wait. It guards against hanging only: a start makes a database and runs all migrations.
const patience = 3 * time.Minute

// TestSystem starts the whole system with two gateways, asks each part of it for something, stops it and removes its data.
func TestSystem(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL, NATS and all services")
	}
	t.Setenv("API_KEY", "") // the system makes one
	first := portsInARow(t)
	cfg := Config{Listen: address(first), Gateways: 2, Data: filepath.Join(t.TempDir(), "data"), FileLevel: "warn"}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	out, ended := new(screen), make(chan error, 1)
	go func() { ended <- start(ctx, cfg, out) }()
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(cfg.Data, "starling.log")) // gone when all went well but the last step
			t.Logf("the terminal:\n%s\nthe log:\n%s", out, log)
		}
	})
	for !strings.Contains(out.String(), "Starling is ready: http://") {
		select {
		case err := <-ended:
			t.Fatalf("start = %v before it was ready", err)
		case <-time.After(pollInterval):
		}
	}

	answers(ctx, t, first, strings.TrimSpace(read(t, filepath.Join(cfg.Data, "api-key"))))

	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("start = %v after it was stopped, want nil", err)
		}
	case <-time.After(patience):
		t.Fatal("start does not return after it was stopped")
	}
	if !strings.HasSuffix(out.String(), "stopped\n") {
		t.Error("the terminal does not say last that the system has stopped")
	}
	for port := first; port < first+2; port++ {
		if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address(port)); err == nil {
			_ = conn.Close()
			t.Errorf("port %d still takes connections after the stop", port)
		}
	}
	removed(t, cfg)
}

// answers has every part take part in an answer: auth-service by the login at the first gateway; chat-, presence-service and the
// other gateway at the second one.
func answers(ctx context.Context, t *testing.T, first int, apiKey string) {
	t.Helper()
	var login struct {
		AccessToken string `json:"accessToken"`
	}
	ask(ctx, t, http.MethodPost, first, "/api/v1/auth/login", nil, `{"username":"alice","password":"alice-demo-password"}`, &login)
	user, backend := http.Header{"Authorization": {"Bearer " + login.AccessToken}}, http.Header{"X-Api-Key": {apiKey}}
	var rooms, online, sockets struct{}
	ask(ctx, t, http.MethodGet, first+1, "/api/v1/rooms", user, "", &rooms)
	ask(ctx, t, http.MethodGet, first+1, "/api/v1/presence?userId=alice", backend, "", &online)
	ask(ctx, t, http.MethodGet, first+1, "/api/v1/sockets?rooms=somewhere", backend, "", &sockets)
}

// ask wants 200 with JSON.
func ask(ctx context.Context, t *testing.T, method string, port int, path string, header http.Header, body string, answer any) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address(port)+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || json.Unmarshal(raw, answer) != nil {
		t.Errorf("%s %s = %s %s, %v, want 200 with JSON", method, path, res.Status, raw, err)
	}
}

// removed wants --clean to remove everything, PostgreSQL's files among it, wherever they are.
func removed(t *testing.T, cfg Config) {
	t.Helper()
	database := read(t, filepath.Join(cfg.Data, postgresPlace))
	if _, err := os.Stat(database); err != nil {
		t.Errorf("PostgreSQL's files before --clean: %v", err)
	}
	cfg.Clean = true
	if err := start(t.Context(), cfg, io.Discard); err != nil {
		t.Errorf("start with Clean = %v", err)
	}
	for _, dir := range []string{cfg.Data, database} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s after --clean: %v, want it gone", dir, err)
		}
	}
}

func TestPortInUse(t *testing.T) {
	listener, err := net.Listen("tcp", address(0))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // a test
	cfg := Config{Listen: listener.Addr().String(), Gateways: 1, Data: t.TempDir(), FileLevel: "warn"}
	s := &system{cfg: cfg, out: io.Discard, logTo: io.Discard, began: time.Now()}
	err = s.addGateways(t.Context(), new(run.Group), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "another --listen?") {
		t.Errorf("addGateways with a port in use = %v, want a hint at --listen", err)
	}
}

func TestValidate(t *testing.T) {
	for listen, gateways := range map[string]int{"localhost": 1, "127.0.0.1:0": 1, "127.0.0.1:65535": 2, "127.0.0.1:3000": 0, "127.0.0.1:3001": 17, ":x": 1} {
		if err := (&Config{Listen: listen, Gateways: gateways}).Validate(); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("Validate(%q, %d gateways) = %v, want an error in one line", listen, gateways, err)
		}
	}
	if err := (&Config{Listen: "127.0.0.1:65534", Gateways: 2}).Validate(); err != nil {
		t.Errorf("Validate = %v, want nil", err)
	}
}

// screen is a terminal that is read while it is written.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// portsInARow finds two ports that nobody listens at, below those of outgoing connections.
func portsInARow(t *testing.T) (first int) {
	t.Helper()
	for first := 10_000 + os.Getpid()%1000*2; first < 31_000; first += 2 {
		a, err := net.Listen("tcp", address(first))
		if err != nil {
			continue
		}
		b, err := net.Listen("tcp", address(first+1))
		_ = a.Close()
		if err == nil {
			_ = b.Close()
			return first
		}
	}
	t.Fatal("no two free ports in a row")
	return 0
}
