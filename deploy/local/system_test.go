package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
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

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/platform/porttest"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
)

// patience bounds each wait. It guards against hanging only: a start makes a database and runs all migrations.
const patience = 3 * time.Minute

// TestSystem starts the whole system with two gateways, asks each part of it for something, stops it and removes its data.
func TestSystem(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL, NATS and all services")
	}
	t.Setenv("API_KEY", "") // the system makes one
	// A collector of traces that takes connections and says nothing.
	collector, err := net.Listen("tcp", address(0))
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Close() //nolint:errcheck // a test
	t.Setenv("OTLP_ENDPOINT", collector.Addr().String())
	t.Setenv("ARGON2_MEMORY_KIB", "8192") // a login is to be answered, by a busy machine too
	t.Setenv("ARGON2_WAIT", "8s")
	first := portsInARow(t, 2)
	cfg := Config{Listen: address(first), Gateways: 2, Data: filepath.Join(t.TempDir(), "data"), FileLevel: "warn", Examples: true, Common: run.Common{ShutdownTimeout: patience}}
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
	var online, sockets struct{}
	var list struct {
		Rooms []struct {
			Name        string `json:"name"`
			LastMessage struct {
				Content string `json:"content"`
			} `json:"lastMessage"`
		} `json:"rooms"`
	}
	ask(ctx, t, http.MethodGet, first+1, "/api/v1/rooms", user, "", &list)
	if len(list.Rooms) != len(exampleRooms()) || list.Rooms[0].LastMessage.Content == "" {
		t.Errorf("alice's rooms are %+v, want the example rooms with what was said in them", list.Rooms)
	}
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

// TestNothingIsCreated: settings that do not fit and ports in use are found first; the error is one line that says what to change.
func TestNothingIsCreated(t *testing.T) {
	taken, err := net.Listen("tcp", address(0))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // a test
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		variables map[string]string
		change    func(*Config)
		want      string
	}{
		"the gateway's port":      {nil, func(c *Config) { c.Listen = taken.Addr().String() }, "another --listen?"},
		"the second port":         {nil, func(c *Config) { c.Listen, c.Gateways = before(taken.Addr()), 2 }, "another --listen?"},
		"the admin port":          {nil, func(c *Config) { c.Admin = taken.Addr().String() }, "ADMIN"},
		"a setting of auth":       {map[string]string{"ACCESS_TOKEN_TTL": "nonsense"}, nil, "ACCESS_TOKEN_TTL"},
		"a setting of chat":       {map[string]string{"WRITER_LANES": "0"}, nil, "WRITER_LANES"},
		"a setting of presence":   {map[string]string{"LEASE_EXPIRY": "1ms"}, nil, "LEASE_EXPIRY"},
		"a setting of gateways":   {map[string]string{"MAX_PAYLOAD": "10"}, nil, "MAX_PAYLOAD"},
		"the collector":           {map[string]string{"OTLP_ENDPOINT": "http://%zz"}, nil, "OTLP_ENDPOINT"},
		"the database":            {nil, func(c *Config) { c.DatabaseURL = "postgres://u:p@h/db?sslmode=nonsense" }, "DATABASE_URL"},
		"the data folder, a file": {nil, func(c *Config) { c.Data = file }, "STARLING_DATA"},
		"below a file":            {nil, func(c *Config) { c.Data = filepath.Join(file, "data") }, "STARLING_DATA"},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range tc.variables {
				t.Setenv(name, value)
			}
			cfg := Config{Listen: address(portsInARow(t, 2)), Gateways: 1, Data: filepath.Join(t.TempDir(), "data"), FileLevel: "warn"}
			if tc.change != nil {
				tc.change(&cfg)
			}
			out := new(screen)
			ctx, stop := context.WithTimeout(t.Context(), 30*time.Second) // what starts nevertheless ends
			defer stop()
			err := start(ctx, cfg, out)
			if _, ok := errors.AsType[*settings.Wrong](err); !ok || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("start = %v, want a *settings.Wrong in one line with %s", err, tc.want)
			}
			if out.String() != "" {
				t.Errorf("the terminal says %q before the error", out)
			}
			if _, err := os.Stat(cfg.Data); err == nil && cfg.Data != file {
				t.Error("the data folder was made")
			}
		})
	}
}

func before(addr net.Addr) string { return address(addr.(*net.TCPAddr).Port - 1) }

// stopAt is a terminal that ends a context when it is told text.
type stopAt struct {
	screen
	text string
	stop context.CancelFunc
}

func (s *stopAt) Write(b []byte) (int, error) {
	if strings.Contains(string(b), s.text) {
		s.stop()
	}
	return s.screen.Write(b)
}

// TestStopWhileStarting: an end at any moment of the start is an end, not a failure.
func TestStopWhileStarting(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	for _, text := range []string{"Starling starts", "creating the database", "starting PostgreSQL", "PostgreSQL runs", "NATS with JetStream", "auth-service runs"} {
		t.Run(text, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), patience)
			defer stop()
			cfg := Config{Listen: address(portsInARow(t, 2)), Gateways: 1, Data: filepath.Join(t.TempDir(), "data"), FileLevel: "warn", Common: run.Common{ShutdownTimeout: patience}}
			out := &stopAt{text: text, stop: stop}
			if err := start(ctx, cfg, out); err != nil {
				t.Errorf("start, stopped at %q = %v, want nil; the terminal:\n%s", text, err, out)
			}
			cfg.Clean = true
			if err := start(t.Context(), cfg, io.Discard); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWaitingIsExplained: while a dependency is away, the terminal says what is waited for, and why.
func TestWaitingIsExplained(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	cfg := Config{
		Listen: address(portsInARow(t, 2)), Gateways: 1, Data: filepath.Join(t.TempDir(), "data"), FileLevel: "error",
		DatabaseURL: settings.URL("postgres://u:hunter2@" + porttest.Reserve(t) + "/x"),
	}
	out := &stopAt{text: "waiting for auth-service", stop: stop}
	if err := start(ctx, cfg, out); err != nil {
		t.Errorf("start = %v after it was stopped, want nil", err)
	}
	said := out.String()
	if !strings.Contains(said, "waiting for auth-service: waiting for PostgreSQL: ") || !strings.Contains(said, "refused") || strings.Contains(said, "hunter2") {
		t.Errorf("the terminal says\n%s\nwant why auth-service is waited for, without the password", said)
	}
}

// TestDemoPasswords: the documented passwords are for this machine only. Once made up, they stay, whatever the address is later.
func TestDemoPasswords(t *testing.T) {
	data := t.TempDir()
	passwords := func(listen string) map[string]string {
		t.Helper()
		s := &system{cfg: Config{Listen: listen, Data: data, Gateways: 1}}
		if err := s.readSecrets(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.writeSecrets(); err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, user := range s.demo {
			all[user.Username] = user.Password
		}
		return all
	}
	for _, listen := range []string{"127.0.0.1:3000", "localhost:3000", "[::1]:3000", "127.1.2.3:80"} {
		if got := passwords(listen)["alice"]; got != "alice-demo-password" {
			t.Errorf("on %s the password of alice is %s, want the documented one", listen, got)
		}
	}
	open := passwords("0.0.0.0:3000")
	for user, password := range open {
		if len(password) < 32 || strings.Contains(password, "demo") {
			t.Errorf("open to others, %s has the password %q, want a random one", user, password)
		}
	}
	if open["alice"] == open["admin"] {
		t.Error("two accounts have one password")
	}
	for _, listen := range []string{":3000", "[::]:3000", "192.0.2.1:3000", "127.0.0.1:3000"} {
		if diff := cmp.Diff(open, passwords(listen)); diff != "" {
			t.Errorf("on %s the passwords are others (-want +got):\n%s", listen, diff)
		}
	}

	// A folder in which the accounts have the documented passwords is not opened to others.
	data = t.TempDir()
	if err := os.WriteFile(filepath.Join(data, postgresPlace), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &system{cfg: Config{Listen: "0.0.0.0:3000", Data: data, Gateways: 1}}
	if err := s.readSecrets(t.Context()); err == nil || !strings.Contains(err.Error(), "passwords that everybody knows") {
		t.Errorf("opening a folder with the documented passwords = %v, want it refused", err)
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

// portsInARow finds n ports that nobody listens at, below those of outgoing connections.
func portsInARow(t *testing.T, n int) (first int) {
	t.Helper()
	for first := 10_000 + os.Getpid()%1000*20; first < 31_000; first++ {
		free := 0
		for ; free < n; free++ {
			listener, err := net.Listen("tcp", address(first+free))
			if err != nil {
				break
			}
			_ = listener.Close()
		}
		if free == n {
			return first
		}
	}
	t.Fatalf("no %d free ports in a row", n)
	return 0
}

// TestCheck: --check judges the settings of all services as well, and takes neither ports nor folders.
func TestCheck(t *testing.T) {
	t.Setenv("API_KEY", "")
	data := filepath.Join(t.TempDir(), "data")
	cfg := &Config{Listen: address(portsInARow(t, 2)), Gateways: 1, Data: data}
	if faults := cfg.Faults(); len(faults) > 0 {
		t.Errorf("Faults = %q, want none", faults)
	}
	t.Setenv("MAX_ROOMS", "0")
	t.Setenv("WRITER_LANES", "many")
	t.Setenv("JWT_SECRET", "short")
	t.Setenv("LOG_LEVEL", "loud") // its own, which is told once
	var found []string
	for _, fault := range cfg.Faults() {
		service, rest, _ := strings.Cut(fault, ": ")
		name, _, _ := strings.Cut(strings.ReplaceAll(rest, ":", " "), " ")
		found = append(found, service+" "+name)
	}
	if diff := cmp.Diff([]string{"auth-service JWT_SECRET", "chat-service WRITER_LANES", "gateway MAX_ROOMS"}, found); diff != "" {
		t.Errorf("Faults (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("the data folder was made: %v", err)
	}
}
