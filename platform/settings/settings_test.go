package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type store struct {
	URL URL `name:"url" env:"TEST_STORE_URL" default:"postgres://u:hunter2@db/x" help:"Database."`
}

type config struct {
	Common
	Store  store         `embed:"" prefix:"store-"`
	Drain  time.Duration `name:"drain" env:"TEST_DRAIN" default:"20s" help:"Drain window, a duration."`
	Token  Secret        `name:"token" env:"TEST_TOKEN" help:"Shared secret."`
	Sticky bool          `name:"sticky" env:"TEST_STICKY" default:"true" negatable:"" help:"Stick."`
}

// Common is exported because kong fills only exported fields.
type Common struct {
	Level string `name:"level" env:"TEST_LEVEL" default:"info" enum:"info,debug" help:"Level."`
}

func (c *config) Validate() error {
	if c.Drain > time.Minute {
		return errors.Join(errors.New("drain is longer than a minute"), errors.New("shorten it"))
	}
	return nil
}

func TestParse(t *testing.T) {
	t.Setenv("TEST_DRAIN", "3s")
	t.Setenv("TEST_LEVEL", "debug")
	var got config
	if err := parse(io.Discard, "prog", "about", &got, []string{"--level=info", "--no-sticky", "--token", "t0p"}); err != nil {
		t.Fatalf("parse: %v", err)
	}
	want := config{
		Common: Common{Level: "info"}, Drain: 3 * time.Second, Token: "t0p",
		Store: store{URL: "postgres://u:hunter2@db/x"},
	}
	if got != want {
		t.Errorf("parse = %#v, want %#v", got, want)
	}
}

func TestParseErrorIsOneLine(t *testing.T) {
	for _, args := range [][]string{{"--drain=soon"}, {"--drain=2m"}, {"--level=loud"}, {"--nonsense"}, {"stray"}} {
		err := parse(io.Discard, "prog", "about", &config{}, args)
		if err == nil || errors.Is(err, ErrHelp) || strings.Contains(err.Error(), "\n") {
			t.Errorf("parse(%q) = %v, want an error of one line", args, err)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Setenv("TEST_DRAIN", "nonsense must not hide the help")
	var out bytes.Buffer
	if err := parse(&out, "prog", "about prog", &config{}, []string{"--help"}); !errors.Is(err, ErrHelp) {
		t.Fatalf("parse(--help) = %v, want ErrHelp", err)
	}
	for _, want := range []string{"about prog", "--drain=20s", "$TEST_DRAIN", "--store-url", "$TEST_STORE_URL", "default true"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help = %s\nwant it to contain %q", out.String(), want)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	for _, tc := range []struct{ url, want URL }{
		{"postgres://u:p@ss:w@h:5432/db?x=1", "postgres://u:****@h:5432/db?x=1"},
		{"postgres://u:p%40ss@h:5432/db?x=1", "postgres://u:****@h:5432/db?x=1"},
		{"postgres://u@h:5432/db", "postgres://u@h:5432/db"},
		{"postgres://u:p@h1:1,h2:2/db", "postgres://u:****@h1:1,h2:2/db"},
		{"nats://a:p@h1,nats://b:q@h2:4222", "nats://a:****@h1,nats://b:****@h2:4222"},
		{"nats://token@h:4222", "nats://****@h:4222"},
		{"nats://h:4222", "nats://h:4222"},
		{"postgres:///db?host=/s&user=u&password=p", "postgres:///db?host=/s&user=u&password=****"},
		{"host=h password='a b' dbname=d", "host=h password=**** dbname=d"},
		{"postgres://u:p/w@h1:1,h2:2/db", "postgres://****@h1:1,h2:2/db"},
		{"host=h password=a,b@c dbname=d", "host=h password=**** dbname=d"},
		{"host=h password='a b dbname=d", "host=h password=****"},
		{"postgres://h/db?password=a b@c", "postgres://h/db?password=****"},
		{"postgres://u:p@h/db?sslpassword=x&a=b", "postgres://u:****@h/db?sslpassword=****&a=b"},
		{"", ""},
	} {
		if got := tc.url.String(); got != string(tc.want) {
			t.Errorf("URL(%q).String() = %q, want %q", tc.url.Reveal(), got, string(tc.want))
		}
	}
	cfg := &config{Token: "hunter2", Store: store{URL: "nats://a:hunter2@h"}}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).LogAttrs(t.Context(), slog.LevelInfo, "x", append(LogAttrs(cfg), slog.Any("cfg", cfg))...)
	all := string(text) + log.String() + fmt.Sprintf("%v %+v %#v %s %q", cfg, cfg, cfg, cfg.Token, cfg.Token)
	if strings.Contains(all, "hunter2") {
		t.Errorf("printed = %s, want no secret", all)
	}
}

func TestLogAttrs(t *testing.T) {
	got := map[string]string{}
	for _, a := range LogAttrs(&config{Drain: time.Second, Token: "x", Store: store{URL: "nats://h"}}) {
		got[a.Key] = a.Value.String()
	}
	want := map[string]string{"level": "", "store_url": "nats://h", "drain": "1s", "token": "****", "sticky": "false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("LogAttrs (-want +got):\n%s", diff)
	}
}

// TestUnreadableSecretsAreMasked: whatever characters a password has, and however wrong the address is, neither printing nor
// Check shows a piece of it.
func TestUnreadableSecretsAreMasked(t *testing.T) {
	const first, second = "s3cr", "4711" // what a parser may take for a name, and for a port
	for _, between := range []string{"/", "#", "?", "@", ":", ",", "%", "%zz", " ", "\n", "\x7f", "\\", "'", "&", "=", "://", ",nats://", "[", "]", "ü", "?a=b#", "/#?@"} {
		for _, password := range []string{first + between + second, second + between + first, second + between + second} {
			for _, address := range []string{
				"postgres://u:" + password + "@host:5432/db?sslmode=disable", "postgres://u:" + password + "@host:5432,other:5432/db",
				"nats://u:" + password + "@host:4222", "nats://" + password + "@host:4222",
				"nats://u:" + password + "@host:4222,nats://u:" + password + "@other:4222", "u:" + password + "@host:5432/db",
				"postgres:/u:" + password + "@host/db", "https://u:" + password + "@host:4317",
			} {
				if between == ":" && strings.HasPrefix(address, "nats://"+password) {
					continue // a user and a password
				}
				text := URL(address).String()
				if err := URL(address).Check(); err != nil {
					text += err.Error()
				}
				if strings.Contains(text, first) || strings.Contains(text, second) {
					t.Errorf("%q is shown as %q", address, text)
				}
			}
		}
	}
}

func TestURLCheck(t *testing.T) {
	for url, want := range map[URL]bool{
		"postgres://u:p%2Fw@h:5432/db": true, "postgres://u:p/w@h:5432/db": false, "postgres://u:12#w@h/db": false,
		"postgres://h1:1,h2:2/db": true, "host=h user=u": true, "nats://a:p@h,nats://a:p@h2": true, "nats://h:port": false,
		"h:4222": true, "nats://h1,h2:4222": true, "postgres://h/db?application_name=a@b": true, "": true,
	} {
		if err := url.Check(); (err == nil) != want {
			t.Errorf("Check(%q) = %v, want it good: %v", url.Reveal(), err, want)
		}
	}
}
