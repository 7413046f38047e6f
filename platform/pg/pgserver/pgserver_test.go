package pgserver

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
	"github.com/jackc/pgx/v5"
)

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("Start(%+v): %v", cfg, err)
	}
	t.Cleanup(func() { _ = s.Stop(context.WithoutCancel(t.Context())) })
	return s
}

func connect(t *testing.T, s *Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func query(t *testing.T, s *Server, sql string) string {
	t.Helper()
	conn := connect(t, s)
	var got string
	if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil {
		t.Fatalf("query %s: %v", sql, err)
	}
	return got
}

func TestServerKeepsItsData(t *testing.T) {
	cfg := Config{DataDir: filepath.Join(t.TempDir(), "deep", "pg"), Socket: true, Durable: true}
	s := start(t, cfg)
	if _, err := Start(t.Context(), cfg); !errors.Is(err, ErrInUse) {
		t.Errorf("second Start = %v, want ErrInUse", err)
	}
	if _, err := connect(t, s).Exec(t.Context(), `CREATE TABLE x AS SELECT 'kept' AS v`); err != nil {
		t.Fatal(err)
	}
	if got := query(t, s, `SELECT current_setting('fsync') || current_setting('listen_addresses')`); got != "on" {
		t.Errorf("fsync and addresses = %q, want on and none", got)
	}
	pid := s.Pid()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("kill(postmaster, 0) after Stop = %v, want ESRCH", err)
	}
	cfg.Socket, cfg.Durable = false, false
	s = start(t, cfg)
	if got := query(t, s, `SELECT v FROM x`); got != "kept" {
		t.Errorf("v = %q, want kept", got)
	}
	if got := query(t, s, `SELECT current_setting('listen_addresses')`); got != "127.0.0.1" {
		t.Errorf("listen_addresses = %q, want 127.0.0.1", got)
	}
	if _, err := pgx.Connect(t.Context(), strings.Replace(s.URL(), s.password, "wrong", 1)); err == nil {
		t.Error("connect with a wrong password succeeded")
	}
}

func TestLeftoverIsStopped(t *testing.T) {
	cfg := Config{DataDir: t.TempDir()}
	first := start(t, cfg)
	first.unlock() // as if its owner were gone
	second := start(t, cfg)
	select {
	case <-first.Done():
	default:
		t.Errorf("server %d lives beside %d, want it stopped", first.Pid(), second.Pid())
	}
}

func TestForeignPidFileIsHarmless(t *testing.T) {
	cfg := Config{DataDir: t.TempDir()}
	s := start(t, cfg)
	_ = s.Stop(t.Context())
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	pidFile := filepath.Join(s.Dir(), "data", "postmaster.pid")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(other.Process.Pid)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, cfg)
	if err := syscall.Kill(other.Process.Pid, 0); err != nil {
		t.Errorf("the process named by a stale pid file is gone: %v", err)
	}
}

func TestRunFailsWhenTheServerDies(t *testing.T) {
	s := start(t, Config{DataDir: t.TempDir()})
	if err := syscall.Kill(s.Pid(), syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("Run = nil after the server died, want an error")
	}
}

// TestChild is the process that TestServerDiesWithItsParent kills.
func TestChild(t *testing.T) {
	dir := os.Getenv("PGSERVER_CHILD_DIR")
	if dir == "" {
		t.Skip("only as a child")
	}
	s := start(t, Config{DataDir: dir})
	fmt.Println("pid", s.Pid())
	<-t.Context().Done()
}

func TestServerDiesWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Pdeathsig")
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	child.Env = append(os.Environ(), "PGSERVER_CHILD_DIR="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "pid %d", &pid)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	if pid == 0 {
		t.Fatal("child started no server")
	}
	for end := time.Now().Add(30 * time.Second); isPostmaster(pid, filepath.Join(dir, "data")); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("postmaster %d outlives its killed parent", pid)
		}
	}
	start(t, Config{DataDir: dir})
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "other files") {
		t.Errorf("Start = %v, want a refusal", err)
	}
}

func TestClosedParent(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has to change users")
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(closed, "a", "b")
	as := &syscall.Credential{Uid: 65534, Gid: 65534}
	if got, err := closedParent(dir, as); got != "" || err != nil {
		t.Errorf("closedParent in the temporary directory = %q, %v, want it opened", got, err)
	}
	if info, err := os.Stat(closed); err != nil || info.Mode().Perm() != 0o701 {
		t.Errorf("mode = %v, %v, want 0701", info.Mode(), err)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", "/elsewhere")
	if got, err := closedParent(dir, as); got != closed || err != nil {
		t.Errorf("closedParent = %q, %v, want %q", got, err, closed)
	}
}

func TestDownload(t *testing.T) {
	txz, err := os.ReadFile("testdata/tiny.txz") // bin/initdb and friends, empty scripts
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	archive := zip.NewWriter(&jar)
	file, err := archive.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(txz); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	found := true
	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !found:
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, ".sha256"):
			_, _ = fmt.Fprintf(w, "%x", sha256.Sum256(jar.Bytes()))
		default:
			_, _ = w.Write(jar.Bytes())
		}
	}))
	defer repository.Close()
	config := embeddedpostgres.DefaultConfig().BinaryRepositoryURL(repository.URL)
	h, err := openHome(t.Context(), filepath.Join(t.TempDir(), "pg"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := h.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	dir, err := download(t.Context(), h, config)
	if err != nil {
		t.Fatalf("download: %v", err)
	}
	if out, err := h.command(t.Context(), filepath.Join(dir, "initdb")).CombinedOutput(); err != nil {
		t.Errorf("initdb: %v %s, want the server's user to run it", err, out)
	}
	found = false
	if _, err := download(t.Context(), h, config); err == nil || !strings.Contains(err.Error(), "install it") {
		t.Errorf("download of nothing = %v, want advice", err)
	}
}
