package settings

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type checked struct {
	Common
	Inner   inner         `embed:""`
	Timeout time.Duration `name:"timeout" env:"TEST_TIMEOUT" default:"1s" help:"Timeout."`
	Number  int           `name:"number" env:"TEST_NUMBER" default:"7" help:"Number."`
	Key     Secret        `name:"key" env:"TEST_KEY" help:"Key."`
}

type inner struct {
	Store URL `name:"store" env:"TEST_STORE" default:"postgres://db/x" help:"Store."`
}

func (i *inner) Validate() error {
	var f Faults
	f.In("TEST_STORE", i.Store.Check())
	return f.Err()
}

func (c *checked) Validate() error {
	var f Faults
	f.If(c.Timeout < time.Second, "TEST_TIMEOUT must be %v at least", time.Second)
	f.If(c.Number > 10, "TEST_NUMBER must be 10 at most")
	return f.Err()
}

// TestCheckTellsAllFaults: not only the one that it meets first, and what is right beside them is judged as it is.
func TestCheckTellsAllFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		args []string
		want []string
	}{
		"nothing is wrong": {nil, []string{"--timeout=2s"}, nil},
		"values and what does not fit": {
			map[string]string{"TEST_LEVEL": "loud", "TEST_NUMBER": "many", "TEST_TIMEOUT": "1ms", "TEST_STORE": "nats://u:p/x@h"},
			nil,
			[]string{"TEST_NUMBER: ", "TEST_LEVEL: it must be one of info, debug", "TEST_STORE: ", "TEST_TIMEOUT must be 1s at least"},
		},
		"the command line comes first": {map[string]string{"TEST_NUMBER": "many", "TEST_TIMEOUT": "1ms"}, []string{"--number=11", "-timeout=2s"}, []string{"TEST_NUMBER must be 10 at most"}},
		"no such flag":                 {map[string]string{"TEST_NUMBER": "many"}, []string{"--nonsense"}, []string{"unknown flag --nonsense"}},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			got := Check("prog", &checked{}, tc.args)
			if len(got) != len(tc.want) {
				t.Fatalf("Check = %q, want %q", got, tc.want)
			}
			for i, fault := range got {
				if !strings.HasPrefix(fault, tc.want[i]) || strings.ContainsAny(fault, "\n") {
					t.Errorf("fault %d = %q, want one line that begins with %q", i, fault, tc.want[i])
				}
			}
			if err := parse(io.Discard, "prog", "", &checked{}, tc.args); (err == nil) != (len(got) == 0) {
				t.Errorf("parse = %v, Check = %q", err, got)
			}
		})
	}
}

// TestSecretsFromFiles: whatever may hold a secret can be read from a file, whose last newline does not count.
func TestSecretsFromFiles(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tc := range map[string]struct {
		env   map[string]string
		args  []string
		key   Secret
		store URL
		wrong string
	}{
		"a secret":              {map[string]string{"TEST_KEY_FILE": file("s3cret \n")}, nil, "s3cret ", "postgres://db/x", ""},
		"of Windows":            {map[string]string{"TEST_KEY_FILE": file("s3cret\r\n")}, nil, "s3cret", "postgres://db/x", ""},
		"an address":            {map[string]string{"TEST_STORE_FILE": file("postgres://u:p@db/x\n")}, nil, "", "postgres://u:p@db/x", ""},
		"an empty variable":     {map[string]string{"TEST_KEY_FILE": file("s3cret"), "TEST_KEY": ""}, nil, "s3cret", "postgres://db/x", ""},
		"no file is named":      {map[string]string{"TEST_KEY_FILE": "", "TEST_KEY": "plain"}, nil, "plain", "postgres://db/x", ""},
		"the command line":      {map[string]string{"TEST_KEY_FILE": file("s3cret")}, []string{"--key=mine"}, "mine", "postgres://db/x", ""},
		"both":                  {map[string]string{"TEST_KEY_FILE": file("s3cret"), "TEST_KEY": "other"}, nil, "", "", "TEST_KEY_FILE: TEST_KEY is set as well"},
		"there is no such file": {map[string]string{"TEST_KEY_FILE": "/nowhere"}, nil, "", "", "TEST_KEY_FILE: open /nowhere"},
		"an empty file":         {map[string]string{"TEST_KEY_FILE": file("\n")}, nil, "", "", "TEST_KEY_FILE: "},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			var got, judged checked
			err := parse(io.Discard, "prog", "", &got, tc.args)
			faults := strings.Join(Check("prog", &judged, tc.args), "\n")
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) || strings.Contains(err.Error(), "s3cret") || !strings.HasPrefix(faults, tc.wrong) {
					t.Errorf("parse = %v, Check = %q, want %q", err, faults, tc.wrong)
				}
				return
			}
			if err != nil || faults != "" {
				t.Fatalf("parse = %v, Check = %q", err, faults)
			}
			if got.Key != tc.key || got.Inner.Store != tc.store {
				t.Errorf("key %q, store %q, want %q, %q", got.Key.Reveal(), got.Inner.Store.Reveal(), tc.key.Reveal(), tc.store.Reveal())
			}
			if diff := cmp.Diff(got, judged, cmp.Comparer(func(a, b Secret) bool { return a == b })); diff != "" {
				t.Errorf("Check fills the settings otherwise than parse:\n%s", diff)
			}
		})
	}
}

func TestHelpNamesFiles(t *testing.T) {
	var out strings.Builder
	if err := parse(&out, "prog", "", &checked{}, []string{"--help"}); !errors.Is(err, ErrHelp) {
		t.Fatal(err)
	}
	help := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{"($TEST_KEY, or $TEST_KEY_FILE)", "($TEST_STORE, or $TEST_STORE_FILE)", "($TEST_NUMBER)"} {
		if !strings.Contains(help, want) {
			t.Errorf("help = %s\nwant %q in it", help, want)
		}
	}
}
