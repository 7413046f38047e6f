package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authservice "github.com/starling-chat/starling/auth-service"
	chatservice "github.com/starling-chat/starling/chat-service"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgserver"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
	presenceservice "github.com/starling-chat/starling/presence-service"
)

// commandsOf are the lines of the block in the documentation that begins with a line, run as they stand: places are put in for those of
// the documentation.
func commandsOf(t *testing.T, page, begin string, places ...string) string {
	t.Helper()
	text := read(t, "../../docs/operations/"+page)
	_, block, found := strings.Cut(text, "```sh\n"+begin+"\n")
	block, _, ended := strings.Cut(block, "```")
	if !found || !ended {
		t.Fatalf("docs/operations/%s has no commands that begin with %q", page, begin)
	}
	return strings.NewReplacer(places...).Replace(block)
}

func shell(t *testing.T, dir, script string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v: %s", script, err, out)
	}
}

// TestMove: the commands of the documentation carry everything from `starling serve` to another machine, by a backup, and to a PostgreSQL
// with the roles of a split deployment, whose services read what was written before.
func TestMove(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL, NATS and all services")
	}
	for _, program := range []string{"pg_dump", "pg_restore", "psql"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (package postgresql-client)", program)
		}
	}
	clearEnvironment(t)
	t.Setenv("API_KEY", testKey)
	old, work := filepath.Join(t.TempDir(), "data"), t.TempDir()
	const password = "the password of an admin"
	s := startServing(t, ServeConfig{Data: old, AdminPassword: password})
	if s.out.String() != "" {
		t.Errorf("with a password that was given, %q is printed", s.out)
	}
	var in login
	if status := s.ask(t, "POST", "/api/v1/auth/login", "", credentials("root", password), &in); status != 200 {
		t.Fatalf("login of the admin = %d, want 200", status)
	}
	s.write(t, in.AccessToken)
	shell(t, work, commandsOf(t, "backup.md", "# a backup, beside the running system", "/var/lib/starling", old, "/backup", work))
	s.end(t)

	t.Run("restore", func(t *testing.T) {
		fresh := filepath.Join(t.TempDir(), "data")
		ctx, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		out, ended := new(screen), make(chan error, 1)
		if err := makeFolder(fresh); err != nil {
			t.Fatal(err)
		}
		go func() { ended <- postgres(ctx, PostgresConfig{Data: fresh}, slog.New(slog.DiscardHandler), out) }()
		for !strings.Contains(out.String(), "PostgreSQL runs") {
			select {
			case err := <-ended:
				t.Fatalf("postgres = %v before it runs", err)
			case <-time.After(pollInterval):
			}
		}
		shell(t, work, commandsOf(t, "backup.md", "# the backup, into an empty folder", "/var/lib/starling", fresh, "/backup", work))
		stop()
		if err := <-ended; err != nil {
			t.Errorf("postgres = %v after it was stopped, want nil", err)
		}
		restored := startServing(t, ServeConfig{Data: fresh})
		wantKept(t, restored.base, in.AccessToken, password)
		if restored.out.String() != "" {
			t.Errorf("after the restore, %q is printed", restored.out)
		}
		restored.end(t)
	})
	t.Run("split", func(t *testing.T) { split(t, old, work, in.AccessToken, password) })
}

// split restores a backup into a PostgreSQL with the roles of a split deployment, and runs the services on it.
func split(t *testing.T, old, work, token, password string) {
	t.Helper()
	own, err := pgserver.Start(t.Context(), pgserver.Config{DataDir: filepath.Join(t.TempDir(), "own"), Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Stop(context.WithoutCancel(t.Context())) })
	at, err := url.Parse(own.URL())
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := at.User.Password()
	env := []string{
		"POSTGRES_USER=" + at.User.Username(), "POSTGRES_DB=starling", "PGHOST=" + at.Hostname(), "PGPORT=" + at.Port(),
		"PGUSER=" + at.User.Username(), "PGPASSWORD=" + secret,
	}
	for _, name := range serviceNames() {
		for _, role := range []string{"", "_OWNER"} {
			env = append(env, strings.ToUpper(name)+role+"_PASSWORD=x", fmt.Sprintf("%s_DB%s_PASSWORD=password-of-%s%s", strings.ToUpper(name), role, name, strings.ToLower(role)))
		}
	}
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	shell(t, repository, commandsOf(t, "install.md", "# the backup, into a PostgreSQL of its own", "/backup", work), env...)

	role := func(name, suffix string) settings.URL {
		u := *at
		u.User = url.UserPassword("starling_"+name+suffix, "password-of-"+name+suffix)
		return settings.URL(u.String())
	}
	t.Setenv("KEY_ENCRYPTION_SECRET_FILE", filepath.Join(old, keySecretFile))
	cfg := ServeConfig{Data: t.TempDir(), Listen: address(portsInARow(t, 2)), AdminUsername: "root", AdminPassword: settings.Secret(password), Common: run.Common{ShutdownTimeout: patience}}
	s := cfg.system(new(screen))
	s.serving.log = slog.New(slog.DiscardHandler)
	defer s.closeListeners()
	if err := s.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	said := new(screen)
	log := slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelWarn}))
	for name, database := range map[string]*pg.Settings{"auth": &s.auth.Database, "chat": &s.chat.Database, "presence": &s.presence.Database} {
		database.URL, database.MigrateOnly = role(name, "_owner"), true
	}
	for name, migrate := range map[string]error{
		"auth": authservice.Run(ctx, s.auth, log), "chat": chatservice.Run(ctx, s.chat, log), "presence": presenceservice.Run(ctx, s.presence, log),
	} {
		if migrate != nil {
			t.Fatalf("migration of %s by its owner: %v", name, migrate)
		}
	}
	for name, database := range map[string]*pg.Settings{"auth": &s.auth.Database, "chat": &s.chat.Database, "presence": &s.presence.Database} {
		database.URL, database.MigrateOnly, database.Migrate = role(name, ""), false, false
	}
	s.reasons.last = make(map[string]string)
	stopNATS, err := s.startNATS(log)
	if err != nil {
		t.Fatal(err)
	}
	defer stopNATS()
	g, ended := run.Group{Timeout: patience}, make(chan error, 1)
	s.addServices(&g, log)
	s.addGateways(&g, log)
	go func() {
		ended <- g.Run(ctx)
		stop() // nobody waits for those who are not there
	}()
	for _, name := range serviceNames() {
		if err := s.awaitService(ctx, name); err != nil {
			stop()
			t.Fatalf("%s-service is not ready: %v; the services end with %v; the log:\n%s", name, err, <-ended, said)
		}
	}
	wantKept(t, "http://"+cfg.Listen, token, password)
	other := &served{base: "http://" + cfg.Listen}
	if status := other.ask(t, "POST", "/api/v1/rooms/moved/messages", testKey, map[string]any{"content": "and more"}, nil); status >= 300 {
		t.Errorf("a message in the split deployment is refused: %d", status)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the services end with %v", err)
	}
}
