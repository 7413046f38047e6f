package settingstest

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	authservice "github.com/starling-chat/starling/auth-service"
	chatservice "github.com/starling-chat/starling/chat-service"
	"github.com/starling-chat/starling/gateway"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
	presenceservice "github.com/starling-chat/starling/presence-service"
)

// services returns an empty Config of each service.
func services() map[string]any {
	return map[string]any{
		"gateway": &gateway.Config{}, "auth-service": &authservice.Config{},
		"chat-service": &chatservice.Config{}, "presence-service": &presenceservice.Config{},
	}
}

// flags returns the settings of a Config as --help shows them.
func flags(t *testing.T, cfg any, options ...kong.Option) map[string]*kong.Flag {
	t.Helper()
	parser, err := kong.New(cfg, append(options, kong.Exit(func(int) {}), kong.Writers(&bytes.Buffer{}, &bytes.Buffer{}))...)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*kong.Flag{}
	for _, flag := range parser.Model.Flags {
		if flag.Name != "help" {
			all[flag.Name] = flag
		}
	}
	return all
}

// TestSharedSettingsAgree: what several services have is the same setting in each of them.
func TestSharedSettingsAgree(t *testing.T) {
	var shared struct {
		run.Common
		Obs      obs.Settings `embed:""`
		RPC      rpc.Settings `embed:""`
		NATS     bus.Settings `embed:""`
		Database pg.Settings  `embed:""`
	}
	own := kong.Vars{"admin_listen": "", "grpc_listen": "", "db_schema": "", "db_max_conns": "1"}
	seen := flags(t, &shared, own)
	first := map[string]string{}
	for name, flag := range seen {
		first[name] = flag.Help
	}
	for service, cfg := range services() {
		has := flags(t, cfg)
		for name := range seen {
			database := strings.Contains(name, "database") || strings.HasPrefix(name, "db-") || name == "migrate-only"
			if _, ok := has[name]; !ok && (!database || service != "gateway") {
				t.Errorf("%s has no --%s", service, name)
			}
		}
		for name, flag := range has {
			// How long a service may take, and how long the gateway waits for it, are two things under one name.
			if name == "event-timeout" {
				continue
			}
			if other, ok := first[name]; ok && other != flag.Help {
				t.Errorf("%s says of --%s %q, another service %q", service, name, flag.Help, other)
			}
			first[name] = flag.Help
			if common, ok := seen[name]; ok && common.Tag.Default == flag.Tag.Default && common.Default != flag.Default && !strings.Contains(flag.Tag.Default, "${") {
				t.Errorf("%s has the default %q of --%s, want %q", service, flag.Default, name, common.Default)
			}
		}
	}
}

var (
	unit     = regexp.MustCompile(`duration|number|bytes|Bytes|KiB|per (second|minute)`)
	variable = regexp.MustCompile(`^[A-Z][A-Z0-9_]+$`)
)

// TestSettingsAreExplained: each setting has a variable, a line in --help and, where it is a number, a default and a unit.
func TestSettingsAreExplained(t *testing.T) {
	for service, cfg := range services() {
		for name, flag := range flags(t, cfg) {
			if !strings.HasSuffix(flag.Help, ".") {
				t.Errorf("%s: --%s is explained by %q, want a sentence", service, name, flag.Help)
			}
			if name == "healthcheck" || name == "check" { // what the binary does, rather than a setting
				continue
			}
			want := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			if name == "migrate-only" {
				want = "DB_MIGRATE_ONLY"
			}
			if len(flag.Envs) != 1 || flag.Envs[0] != want {
				t.Errorf("%s: --%s has the variables %q, want %s", service, name, flag.Envs, want)
			}
			switch flag.Target.Kind() {
			case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint32, reflect.Float64:
				if !flag.HasDefault || !unit.MatchString(flag.Help) {
					t.Errorf("%s: --%s has the default %q and the line %q, want a default and a unit", service, name, flag.Default, flag.Help)
				}
			default:
			}
		}
	}
}

// TestErrorsNameVariables: what Validate finds names the setting as the environment does, in every service.
func TestErrorsNameVariables(t *testing.T) {
	found := 0
	for service, cfg := range services() {
		for name, flag := range flags(t, cfg) {
			var wrong []string
			switch flag.Target.Kind() {
			case reflect.Int, reflect.Int32, reflect.Float64:
				wrong = []string{"0", "-1", "2000000000"}
			case reflect.Uint8, reflect.Uint32:
				wrong = []string{"0"}
			case reflect.Int64:
				wrong = []string{"0", "-1"}
				if flag.Target.Type().Name() == "Duration" {
					wrong = []string{"0s", "-1s", "20000h"}
				}
			case reflect.String:
				wrong = []string{"", "ä, :"}
			case reflect.Slice:
				wrong = []string{"nonsense"}
			default:
			}
			for _, value := range wrong {
				fresh := reflect.New(reflect.TypeOf(cfg).Elem()).Interface()
				err := settings.Parse(service, "", fresh, []string{"--" + name + "=" + value})
				if err == nil || flag.Enum != "" {
					continue
				}
				found++
				if text := err.Error(); !strings.Contains(text, flag.Envs[0]) || strings.Contains(text, "--") || strings.Contains(text, "\n") {
					t.Errorf("%s --%s=%s: %q, want one line that names %s and no flag", service, name, value, text, flag.Envs[0])
				}
			}
		}
	}
	if found < 60 {
		t.Errorf("%d wrong values were refused, want more", found)
	}
}

// TestMain keeps the environment of whoever runs the tests out of them.
func TestMain(m *testing.M) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); variable.MatchString(name) && name != "PATH" && name != "HOME" {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}
