package authservice

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/platform/porttest"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// shell runs commands as an operator does, with the settings of the service.
type shell struct {
	t   *testing.T
	cfg func() (Config, error)
	in  string
}

// run gives the exit code and what the command wrote.
func (s shell) run(args ...string) (code int, out, errors string) {
	s.t.Helper()
	var stdout bytes.Buffer
	var stderr records // NATS's client may still be writing when the command has ended
	var all Commands
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	code = Command(ctx, Operation{
		Program: "auth-service", Args: args, Parsed: &all, Commands: &all,
		Settings: func() (Config, bool, error) {
			cfg, err := s.cfg()
			return cfg, false, err
		},
		In: strings.NewReader(s.in), Out: &stdout, Err: &stderr,
	})
	return code, stdout.String(), stderr.text()
}

// ok wants exit code 0 and nothing on standard error but remarks.
func (s shell) ok(args ...string) string {
	s.t.Helper()
	code, out, errors := s.run(args...)
	if code != 0 || strings.Contains(errors, "auth-service:") || strings.Contains(errors, "level=") {
		s.t.Errorf("%q = %d, %q, %q, want 0", args, code, out, errors)
	}
	return out
}

// refused wants an exit code, one line that says why, and no answer.
func (s shell) refused(code int, why string, args ...string) {
	s.t.Helper()
	got, out, errors := s.run(args...)
	if got != code || out != "" || !strings.Contains(errors, why) || strings.Count(errors, "\n") != 1 || !strings.HasPrefix(errors, "auth-service: ") {
		s.t.Errorf("%q = %d, %q, %q, want %d with %q in one line", args, got, out, errors, code, why)
	}
}

// shell is a replica of the service, and a shell beside it.
func (s *system) shell(t *testing.T) (shell, authv1.AuthServiceClient, authv1.UserServiceClient) {
	t.Helper()
	cfg := s.config(t)
	client, manage := startBoth(t, cfg)
	cfg.RPC.Listen = ""
	return shell{t: t, cfg: func() (Config, error) { return cfg, nil }}, client, manage
}

func TestUserCommands(t *testing.T) {
	s := newSystem(t)
	sh, client, manage := s.shell(t)
	ann := register(t, client, "ann")
	id := ann.GetUser().GetId()
	if _, err := manage.UpsertUsers(withScopes(t, caller.ScopeUsers), &authv1.UpsertUsersRequest{Users: []*authv1.UserUpsert{
		{Id: "crm|1", Name: new("Zoë"), DataJson: []byte(`{"team":1}`)}, {Id: "bob"},
	}}); err != nil {
		t.Fatal(err)
	}
	bob := register(t, client, "bob").GetUser().GetId() // the user name is the id of somebody else

	var list struct {
		Users []map[string]any
		Next  string
	}
	var ids []string
	for page := range 10 {
		list.Users, list.Next = nil, strings.Clone(list.Next)
		after := list.Next
		list.Next = ""
		if err := json.Unmarshal([]byte(sh.ok("users", "list", "--json", "--limit=3", "--after="+after)), &list); err != nil {
			t.Fatal(err)
		}
		for _, u := range list.Users {
			ids = append(ids, u["id"].(string))
		}
		if list.Next == "" {
			break
		}
		if page == 9 {
			t.Fatal("the pages of 4 users do not end")
		}
	}
	slices.Sort(ids)
	want := []string{id, bob, "bob", "crm|1"}
	slices.Sort(want)
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("users in pages of 3 (-want +got):\n%s", diff)
	}
	if text := sh.ok("users", "list"); !strings.Contains(text, "ann ") || !strings.Contains(text, "Zoë") || strings.Count(text, "\n") != 5 || strings.Contains(text, "argon2") {
		t.Errorf("users list =\n%s\nwant a line for the columns and each of 4 users", text)
	}

	revocations := subscribe(t, s.nc)
	if out := sh.ok("users", "disable", "ann"); !strings.Contains(out, "Disabled ann ("+id+")") {
		t.Errorf("users disable ann = %q", out)
	}
	if r := next(t, revocations); r.GetUserId() != id {
		t.Errorf("gateways hear %v, want a revocation of %s", r, id)
	}
	wantRefused(t, client, ann.GetAccessToken(), "of a user who was disabled by a command")
	if text := sh.ok("users", "list", "--disabled"); !strings.Contains(text, id) || strings.Contains(text, "crm|1") {
		t.Errorf("users list --disabled =\n%s\nwant ann alone", text)
	}
	sh.ok("users", "enable", id)
	if _, err := client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password}); err != nil {
		t.Errorf("Login(enabled by a command) = %v, want nil", err)
	}

	sh.refused(1, "--by=id", "users", "delete", "bob")
	sh.ok("users", "delete", "bob", "--by=id")
	if out := sh.ok("--json", "users", "delete", "--by=username", "bob"); strings.TrimSpace(out) != "{}" {
		t.Errorf("users delete --json = %q, want {}", out)
	}
	sh.refused(1, "User not found", "users", "delete", "bob")
	for _, user := range []string{bob, "bob"} {
		_, err := manage.GetUser(withScopes(t, caller.ScopeUsers), &authv1.GetUserRequest{UserId: user})
		wantFault(t, "GetUser(deleted by a command)", err, fault.NotFound, "")
	}
}

func TestPasswdCommand(t *testing.T) {
	s := newSystem(t)
	sh, client, manage := s.shell(t)
	ann := register(t, client, "ann")
	if _, err := manage.UpsertUsers(withScopes(t, caller.ScopeUsers), &authv1.UpsertUsersRequest{Users: []*authv1.UserUpsert{{Id: "crm|1"}}}); err != nil {
		t.Fatal(err)
	}
	const secret = "a new one, longer"
	for in, want := range map[string]struct {
		code int
		why  string
	}{
		"":                        {2, "no password"},
		"\n" + secret:             {2, "no password"},
		"short\n":                 {2, "characters"},
		"password1\n":             {2, "most common"},
		secret + "\nand more":     {2, "only line"},
		strings.Repeat("x", 9000): {2, "only line"},
	} {
		sh.in = in
		sh.refused(want.code, want.why, "users", "passwd", "ann")
	}
	revocations := subscribe(t, s.nc)
	sh.in = secret + "\r\n"
	code, out, errors := sh.run("users", "passwd", "ann", "--verbose")
	if code != 0 || strings.Contains(out+errors, secret) || !strings.Contains(errors, "event=password result=ok") {
		t.Errorf("users passwd = %d, %q, %q, want 0, its security event, and no password", code, out, errors)
	}
	if r := next(t, revocations); r.GetUserId() != ann.GetUser().GetId() {
		t.Errorf("gateways hear %v, want a revocation of ann", r)
	}
	wantRefused(t, client, ann.GetAccessToken(), "from before another password")
	_, err := client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password})
	wantFault(t, "Login(old password)", err, fault.Unauthenticated, "")
	if _, err := client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: secret}); err != nil {
		t.Errorf("Login(new password) = %v, want nil", err)
	}
	sh.refused(1, "no password here", "users", "passwd", "crm|1")
}

func TestKeyCommands(t *testing.T) {
	s := newSystem(t)
	sh, client, _ := s.shell(t)
	code, out, remark := sh.run("keys", "add", "crm", "--scopes=presence,users", "--expires=720h")
	secret := strings.TrimSpace(out)
	if code != 0 || !strings.HasPrefix(secret, "starling_") || strings.Contains(secret, "\n") || strings.Contains(remark, secret) {
		t.Fatalf("keys add = %d, %q, %q, want the key alone", code, out, remark)
	}
	answer, err := client.AuthenticateKey(t.Context(), &authv1.AuthenticateKeyRequest{Key: secret})
	if err != nil || answer.GetName() != "crm" || !slices.Equal(answer.GetScopes(), []string{"presence", "users"}) {
		t.Errorf("AuthenticateKey(made by a command) = %v, %v, want crm", answer, err)
	}
	var made struct {
		Key   string
		About struct{ Name, ExpiresAt string }
	}
	if err := json.Unmarshal([]byte(sh.ok("keys", "add", "erp", "--scopes=emit", "--json", "--expires=2100-01-01T00:00:00Z")), &made); err != nil || made.About.Name != "erp" || made.About.ExpiresAt != "2100-01-01T00:00:00.000Z" {
		t.Errorf("keys add --json = %v, %v, want erp until 2100", made, err)
	}
	code, out, remark = sh.run("keys", "list", "--limit=2")
	if code != 0 || !strings.Contains(out, "crm ") || !strings.Contains(remark, "--after=") || strings.Contains(out, secret) {
		t.Errorf("keys list --limit=2 = %d, %q, %q, want crm, and where to go on", code, out, remark)
	}
	if text := sh.ok("keys", "list", "--after=default"); !strings.Contains(text, "erp") || strings.Contains(text, "crm") {
		t.Errorf("keys list --after=default =\n%s\nwant erp alone", text)
	}
	sh.ok("keys", "rm", "crm")
	for deadline := time.Now().Add(30 * time.Second); err == nil && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		_, err = client.AuthenticateKey(t.Context(), &authv1.AuthenticateKeyRequest{Key: secret})
	}
	wantFault(t, "AuthenticateKey(removed by a command)", err, fault.Unauthenticated, "")
	sh.refused(1, "not found", "keys", "rm", "crm")
	sh.refused(1, "There is a key", "keys", "add", "erp", "--scopes=emit")
	sh.refused(2, "scopes must be of", "keys", "add", "x", "--scopes=root")
	sh.refused(2, "default", "keys", "add", "default", "--scopes=emit")
	sh.refused(2, "future", "keys", "add", "x", "--scopes=emit", "--expires=-1h")
	sh.refused(2, "such as", "keys", "add", "x", "--scopes=emit", "--expires=soon")
}

// TestWrongCommands: what is called wrongly asks nothing of anybody, and what cannot be reached is named without its password.
func TestWrongCommands(t *testing.T) {
	nowhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nowhere.Close()
	sh := shell{t: t, cfg: func() (Config, error) {
		var cfg Config
		err := settings.Parse(name, "", &cfg, []string{
			fmt.Sprintf("--database-url=postgres://u:hunter2@%s/x", nowhere.Addr()), "--nats-url=nats://u:hunter2@" + nowhere.Addr().String(),
		})
		return cfg, err
	}}
	for _, args := range [][]string{
		{"users"},
		{"keys"},
		{"user", "list"},
		{"users", "ls"},
		{"users", "disable"},
		{"users", "disable", "a", "b"},
		{"users", "list", "--limit=x"},
		{"users", "list", "--limit=0"},
		{"users", "list", "--limit=1001"},
		{"users", "list", "--page=2"},
		{"users", "enable", "a", "--by=name"},
		{"keys", "add", "x"},
		{"keys", "rm"},
		{"keys", "list", "--limit=0"},
	} {
		sh.refused(2, "", args...)
	}
	for _, args := range [][]string{{"--help"}, {"users", "--help"}, {"users", "passwd", "-help"}, {"keys", "add", "--help"}} {
		if code, out, errors := sh.run(args...); code != 0 || !strings.Contains(out, "Usage: auth-service") || errors != "" {
			t.Errorf("%q = %d, %q, %q, want help", args, code, out, errors)
		}
	}
	if _, out, _ := sh.run("keys", "add", "--help"); !strings.Contains(out, caller.ScopePresence) {
		t.Errorf("keys add --help =\n%s\nwant the scopes", out)
	}
	code, out, errors := sh.run("users", "list")
	if code != 1 || out != "" || !strings.Contains(errors, "refused") || strings.Contains(errors, "hunter2") {
		t.Errorf("users list without a database = %d, %q, %q, want 1 and why", code, out, errors)
	}
	sh.cfg = func() (Config, error) {
		return Config{}, &settings.Wrong{Setting: "DATABASE_URL", Err: context.DeadlineExceeded}
	}
	sh.refused(2, "DATABASE_URL", "users", "list")
}

// TestCommandWithoutNATS: the user is out of the running service although the command reached no bus; the service announces it.
func TestCommandWithoutNATS(t *testing.T) {
	s := newSystem(t)
	sh, client, _ := s.shell(t)
	ann := register(t, client, "ann")
	revocations := subscribe(t, s.nc)
	with := sh.cfg
	sh.cfg = func() (Config, error) {
		cfg, err := with()
		cfg.NATS.URL = settings.URL("nats://" + porttest.Reserve(t)) // nobody is there
		return cfg, err
	}
	if code, out, errors := sh.run("users", "disable", "ann"); code != 0 || !strings.Contains(errors, "revocation not announced, will be repeated") {
		t.Errorf("users disable without NATS = %d, %q, %q, want 0 and a warning", code, out, errors)
	}
	if r := next(t, revocations); r.GetUserId() != ann.GetUser().GetId() {
		t.Errorf("gateways hear %v, want a revocation of ann", r)
	}
	wantRefused(t, client, ann.GetAccessToken(), "of a user who was disabled without NATS")
}
