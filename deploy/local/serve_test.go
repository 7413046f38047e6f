package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/gateway"
	"github.com/starling-chat/starling/platform/certs/certstest"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
)

// served is a running `starling serve`.
type served struct {
	cfg   ServeConfig
	out   *screen
	stop  context.CancelFunc
	ended chan error
	base  string // of REST
}

// startServing runs `starling serve` until it is ready.
func startServing(t *testing.T, cfg ServeConfig) *served {
	t.Helper()
	cfg.Common = run.Common{ShutdownTimeout: patience, LogLevel: "warn", LogFormat: "json"}
	cfg.AdminUsername = "root"
	if cfg.Listen == "" {
		cfg.Listen = address(portsInARow(t, 2))
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	s := &served{cfg: cfg, out: new(screen), stop: stop, ended: make(chan error, 1), base: "http://" + cfg.Listen}
	if cfg.TLS.On() {
		s.base = "https://" + cfg.Listen
	}
	log := new(screen)
	go func() {
		s.ended <- serve(ctx, cfg, slog.New(slog.NewJSONHandler(log, nil)), s.out)
	}()
	t.Cleanup(stop)
	for !strings.Contains(log.String(), `"msg":"ready"`) {
		select {
		case err := <-s.ended:
			t.Fatalf("serve = %v before it was ready; the log:\n%s", err, log)
		case <-time.After(pollInterval):
		}
	}
	return s
}

func (s *served) end(t *testing.T) {
	t.Helper()
	s.stop()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("serve = %v after it was stopped, want nil", err)
		}
	case <-time.After(patience):
		t.Fatal("serve does not return after it was stopped")
	}
}

// ask makes a request and gives status and answer; token may be empty.
func (s *served) ask(t *testing.T, method, path, token string, body, answer any) int {
	t.Helper()
	return askJSON(t, method, s.base+path, token, body, answer)
}

func askJSON(t *testing.T, method, url, token string, body, answer any) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	switch token {
	case "":
	case testKey:
		r.Header.Set("X-API-Key", token)
	default:
		r.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	said, err := io.ReadAll(res.Body)
	if err == nil && answer != nil && res.StatusCode < 300 {
		err = json.Unmarshal(said, answer)
	}
	if err != nil {
		t.Fatalf("%s %s = %s %s: %v", method, url, res.Status, said, err)
	}
	return res.StatusCode
}

// testKey is the API key of these tests.
const testKey = "the-key-of-a-test-0123456789"

type login struct {
	AccessToken string `json:"accessToken"`
}

func credentials(username, password string) map[string]string {
	return map[string]string{"username": username, "password": password}
}

// write makes a room with a message, as the admin.
func (s *served) write(t *testing.T, token string) {
	t.Helper()
	if status := s.ask(t, "POST", "/api/v1/rooms", token, map[string]any{"roomId": "moved", "kind": "private"}, nil); status >= 300 {
		t.Fatalf("a room is refused: %d", status)
	}
	if status := s.ask(t, "POST", "/api/v1/rooms/moved/messages", testKey, map[string]any{"content": "still here"}, nil); status >= 300 {
		t.Fatalf("a message is refused: %d", status)
	}
}

// wantKept: what write made is there, for a token from before and for the admin's password.
func wantKept(t *testing.T, base, token, password string) {
	t.Helper()
	var again login
	if status := askJSON(t, "POST", base+"/api/v1/auth/login", "", credentials("root", password), &again); status != 200 {
		t.Errorf("login by the password of before = %d, want 200", status)
	}
	for name, token := range map[string]string{"a token from before": token, "a new one": again.AccessToken} {
		var history struct {
			Messages []struct{ Content string }
		}
		if status := askJSON(t, "GET", base+"/api/v1/rooms/moved/messages", token, nil, &history); status != 200 || len(history.Messages) != 1 || history.Messages[0].Content != "still here" {
			t.Errorf("history by %s = %d %v, want the message", name, status, history)
		}
	}
}

var printed = regexp.MustCompile(`The admin is root, with the password ([0-9a-f]{32})\n`)

// TestServe: the first start makes an admin and secrets, and no demo accounts; the next one finds everything. The folder is not opened
// for trying things out.
func TestServe(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL, NATS and all services")
	}
	clearEnvironment(t)
	t.Setenv("API_KEY", testKey)
	files := certstest.New(t).Files(t, "localhost", "127.0.0.1")
	ports := portsInARow(t, 2)
	cfg := ServeConfig{
		Data: filepath.Join(t.TempDir(), "data"), Listen: address(ports),
		TLS: gateway.TLS{Cert: files.Cert, Key: files.Key, Plain: address(ports + 1)},
	}
	s := startServing(t, cfg)
	found := printed.FindStringSubmatch(s.out.String())
	if found == nil {
		t.Fatalf("standard output has no password of the admin: %q", s.out)
	}
	var in login
	if status := s.ask(t, "POST", "/api/v1/auth/login", "", credentials("root", found[1]), &in); status != 200 {
		t.Fatalf("login of the admin = %d, want 200", status)
	}
	if status := s.ask(t, "POST", "/api/v1/auth/login", "", credentials("alice", "alice-demo-password"), nil); status != 401 {
		t.Errorf("login of a demo account = %d, want 401", status)
	}
	if status := s.ask(t, "POST", "/api/v1/auth/register", "", credentials("somebody", "a long password of mine"), nil); status != 403 {
		t.Errorf("registration of a stranger = %d, want 403", status)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if res, err := client.Get("http://" + cfg.TLS.Plain + "/x"); err != nil || res.Header.Get("Location") != s.base+"/x" {
		t.Errorf("plain HTTP = %v, %v, want it to name %s/x", res, err, s.base)
	}
	s.write(t, in.AccessToken)
	s.end(t)
	wantClosed(t, cfg.Data)
	if _, err := os.Stat(filepath.Join(cfg.Data, adminPasswordFile)); err == nil {
		t.Error("the password that was printed is kept")
	}

	s = startServing(t, cfg)
	if s.out.String() != "" {
		t.Errorf("the second start prints %q, want nothing", s.out)
	}
	wantKept(t, s.base, in.AccessToken, found[1])
	s.end(t)

	for name, c := range map[string]Config{"run": {}, "clean": {Clean: true}} {
		c.Data, c.Listen, c.Gateways, c.FileLevel = cfg.Data, cfg.Listen, 1, "warn"
		if err := start(t.Context(), c, io.Discard); err == nil || !strings.Contains(err.Error(), "STARLING_DATA") {
			t.Errorf("make %s on the same folder = %v, want it refused", name, err)
		}
	}
	if err := os.Remove(filepath.Join(cfg.Data, keySecretFile)); err != nil {
		t.Fatal(err)
	}
	if err := serve(t.Context(), cfg, slog.New(slog.DiscardHandler), io.Discard); err == nil || !strings.Contains(err.Error(), "KEY_ENCRYPTION_SECRET") {
		t.Errorf("serve without the secret of the keys = %v, want it refused", err)
	}
}

// wantClosed: nothing in the data folder but what PostgreSQL guards itself can be read by others.
func wantClosed(t *testing.T, data string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(data, secretsFolder), func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v, want it closed to others", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{serviceTokenFile, keySecretFile, adminFile} {
		if _, err := os.Stat(filepath.Join(data, name)); err != nil {
			t.Error(err)
		}
	}
}

// clearEnvironment keeps settings of whoever runs the tests out of them, and makes logins cheap.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{"API_KEY", "KEY_ENCRYPTION_SECRET", "ADMIN_USERNAME", "ADMIN_PASSWORD", "REGISTRATION", "CHAT_BROADCAST", "NOTIFY_SOCKET"} {
		t.Setenv(name, "")
		if name != "NOTIFY_SOCKET" {
			_ = os.Unsetenv(name)
		}
	}
	t.Setenv("ARGON2_MEMORY_KIB", "8192")
	t.Setenv("ARGON2_WAIT", "8s")
}

// TestMain lets a test be the program.
func TestMain(m *testing.M) {
	if os.Getenv("STARLING_TEST_IS_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestCommands: the program knows its commands, and judges their settings without starting anything.
func TestCommands(t *testing.T) {
	clearEnvironment(t)
	data := filepath.Join(t.TempDir(), "data")
	for line, want := range map[string]struct {
		exit int
		says string
	}{
		"serve":                                    {2, "STARLING_DATA"},
		"serve --help":                             {0, "--acme-domains"},
		"serve --check --data " + data:             {0, ""},
		"serve --check --listen :3000":             {2, "LISTEN"},
		"serve --data " + data + " --listen :3000": {2, "LISTEN"},
		"postgres":                                 {2, "STARLING_DATA"},
		"postgres --help":                          {0, "--data"},
		"users --help":                             {0, "disable"},
		"--help":                                   {0, "--gateways"},
		"nonsense":                                 {2, "nonsense"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cmd := exec.CommandContext(ctx, os.Args[0], strings.Fields(line)...)
		cmd.Env = append(os.Environ(), "STARLING_TEST_IS_MAIN=1")
		out, _ := cmd.CombinedOutput()
		cancel()
		if exit := cmd.ProcessState.ExitCode(); exit != want.exit || !strings.Contains(string(out), want.says) {
			t.Errorf("starling %s exits with %d: %s\nwant %d and %q", line, exit, out, want.exit, want.says)
		}
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("--check made the data folder")
	}
}

// TestServeRefuses: what would let others in, or let them read along, is refused before anything is made; the error names the setting.
func TestServeRefuses(t *testing.T) {
	files := certstest.New(t).Files(t, "chat.example.test")
	data := t.TempDir()
	withTLS := []string{"--tls-cert=" + files.Cert, "--tls-key=" + files.Key}
	for name, tc := range map[string]struct {
		args []string
		want string // in the error; "" = it starts
	}{
		"nothing but a folder":        {nil, ""},
		"no folder":                   {[]string{"--data="}, "STARLING_DATA"},
		"everywhere":                  {[]string{"--listen=:3000"}, "LISTEN"},
		"everywhere, IPv4":            {[]string{"--listen=0.0.0.0:3000"}, "LISTEN"},
		"everywhere, IPv6":            {[]string{"--listen=[::]:3000"}, "LISTEN"},
		"one address":                 {[]string{"--listen=192.168.1.7:3000"}, "LISTEN"},
		"a name":                      {[]string{"--listen=chat.example.test:3000"}, "LISTEN"},
		"no port":                     {[]string{"--listen=127.0.0.1"}, "LISTEN"},
		"any port":                    {[]string{"--listen=127.0.0.1:0"}, "LISTEN"},
		"everywhere with TLS":         {append([]string{"--listen=:443"}, withTLS...), ""},
		"everywhere with ACME":        {[]string{"--listen=:443", "--acme-domains=chat.example.test"}, ""},
		"everywhere, said":            {[]string{"--listen=:3000", "--insecure"}, ""},
		"half of TLS":                 {[]string{"--listen=:443", "--tls-cert=" + files.Cert}, "TLS_KEY"},
		"plain HTTP without TLS":      {[]string{"--http-listen=:80"}, "HTTP_LISTEN"},
		"metrics here":                {[]string{"--admin=127.0.0.1:8080"}, ""},
		"metrics in a private net":    {[]string{"--admin=10.1.2.3:8080"}, ""},
		"metrics everywhere":          {[]string{"--admin=:8080"}, "ADMIN"},
		"metrics at a public address": {[]string{"--admin=203.0.113.7:8080"}, "ADMIN"},
		"metrics at the last port":    {[]string{"--admin=127.0.0.1:65535"}, "ADMIN"},
	} {
		err := settings.Parse("starling serve", "", new(ServeConfig), append([]string{"--data=" + data}, tc.args...))
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v, want it accepted", name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want an error that names %s", name, err, tc.want)
		}
	}

	// A folder of `make run` has accounts whose passwords everybody knows.
	if err := os.WriteFile(filepath.Join(data, postgresPlace), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := serve(t.Context(), ServeConfig{Data: data, Listen: "127.0.0.1:1"}, slog.New(slog.DiscardHandler), io.Discard)
	if _, ok := errors.AsType[*settings.Wrong](err); !ok || !strings.Contains(err.Error(), "everybody knows") {
		t.Errorf("serve with a folder of make run = %v, want it refused", err)
	}
}

// TestServeSettings: what the environment does not say is as others expect who rely on it, and what it says counts.
func TestServeSettings(t *testing.T) {
	clearEnvironment(t)
	read := func(cfg ServeConfig) *system {
		t.Helper()
		cfg.Data, cfg.Listen, cfg.AdminUsername = t.TempDir(), address(portsInARow(t, 2)), "root"
		s := cfg.system(io.Discard)
		t.Cleanup(s.closeListeners)
		if err := s.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := read(ServeConfig{})
	if s.auth.Accounts.Registration != nil || s.auth.Accounts.Published != "" || s.auth.Accounts.APIKey != "" || len(s.auth.DemoUsers) > 0 {
		t.Errorf("accounts are %+v, demo users %v, want none that nobody asked for", s.auth.Accounts, s.auth.DemoUsers)
	}
	if s.chat.ChatBroadcast != "off" || s.auth.Tokens.KeySecret == "" || s.auth.Accounts.AdminUsername != "root" || s.auth.Accounts.AdminPassword == "" {
		t.Errorf("broadcast %q, admin %q, want off, and an admin with a password", s.chat.ChatBroadcast, s.auth.Accounts.AdminUsername)
	}
	t.Setenv("CHAT_BROADCAST", "admin")
	t.Setenv("REGISTRATION", "true")
	t.Setenv("KEY_ENCRYPTION_SECRET", "of my own, long enough")
	s = read(ServeConfig{AdminPassword: "a password of my own", Admin: address(portsInARow(t, 14) + 10)})
	if registration := s.auth.Accounts.Registration; registration == nil || !*registration || s.chat.ChatBroadcast != "admin" || s.auth.Tokens.KeySecret != "of my own, long enough" {
		t.Errorf("registration %v, broadcast %q, want what the environment says", registration, s.chat.ChatBroadcast)
	}
	if slices.ContainsFunc(s.made, func(f secretFile) bool { return f.name == keySecretFile || f.name == adminPasswordFile }) {
		t.Errorf("%v are made up beside secrets that were given", s.made)
	}
	if s.auth.Accounts.AdminPassword != "a password of my own" {
		t.Error("the admin has another password")
	}
	listeners := []net.Listener{s.gateways[0].Obs.Listener, s.auth.Obs.Listener, s.chat.Obs.Listener, s.presence.Obs.Listener}
	for i, l := range listeners {
		if l == nil || l.Addr().String() != after(s.cfg.Admin, i) {
			t.Errorf("admin address %d is %v, want %s", i, l, after(s.cfg.Admin, i))
		}
	}
}

// TestNotify: systemd is told, at a path and at an abstract address, and nobody is where nobody asked.
func TestNotify(t *testing.T) {
	for _, at := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@starling-test-%d", os.Getpid())} {
		name := at
		if at[0] == '@' {
			name = "\x00" + at[1:]
		}
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("NOTIFY_SOCKET", at)
		if err := notify(t.Context(), "READY=1"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, err := conn.Read(buf)
		if err != nil || string(buf[:n]) != "READY=1" {
			t.Errorf("systemd hears %q, %v, want READY=1", buf[:n], err)
		}
		_ = conn.Close()
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := notify(t.Context(), "READY=1"); err != nil {
		t.Errorf("without systemd: %v", err)
	}
}
