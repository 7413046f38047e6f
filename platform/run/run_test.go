package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/platform/settings"
)

// stopper appends its name to order when its context ends.
func stopper(order *[]string, name string, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		*order = append(*order, name)
		return err
	}
}

type checkedConfig struct {
	Common
	Number int `name:"number" env:"TEST_CHECK_NUMBER" default:"1" help:"Number."`
}

func (c *checkedConfig) Validate() error {
	if c.Number > 9 {
		return errors.New("TEST_CHECK_NUMBER must be 9 at most")
	}
	return nil
}

func (*checkedConfig) Faults() []string { return []string{"what others find"} }

// TestCheck: --check tells all faults, a line each, and starts nothing.
func TestCheck(t *testing.T) {
	for _, args := range [][]string{{"--check"}, {"--number=3", "-check"}} {
		if !asksForCheck(args) {
			t.Errorf("%q does not ask for a check", args)
		}
	}
	for _, args := range [][]string{nil, {"--check", "--help"}, {"--number=3"}} {
		if asksForCheck(args) {
			t.Errorf("%q asks for a check", args)
		}
	}
	var out strings.Builder
	t.Setenv("TEST_CHECK_NUMBER", "10")
	if code := check(&out, "prog", &checkedConfig{}, []string{"--check", "--log-level=loud"}); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	want := "prog: LOG_LEVEL: it must be one of debug, info, warn, error\nprog: TEST_CHECK_NUMBER must be 9 at most\nprog: what others find\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("--check says (-want +got):\n%s", diff)
	}
	out.Reset()
	if code := check(&out, "prog", &struct{ Common }{}, []string{"--check"}); code != exitOK || out.Len() > 0 {
		t.Errorf("exit code %d, %q, want %d and nothing", code, out.String(), exitOK)
	}
}

func TestGroupStopsInReverse(t *testing.T) {
	boom := errors.New("boom")
	var order []string
	var g Group
	g.Go("a", stopper(&order, "a", context.Canceled))
	g.Go("b", stopper(&order, "b", errors.New("flush")))
	g.Go("done", func(context.Context) error { return nil })
	g.Go("c", func(context.Context) error { return boom })
	g.Go("d", stopper(&order, "d", nil))
	err := g.Run(t.Context())
	if !errors.Is(err, boom) || err.Error() != "c: boom\nb: flush" {
		t.Errorf("Run = %q, want c: boom, then b: flush", err)
	}
	if diff := cmp.Diff([]string{"d", "b", "a"}, order); diff != "" {
		t.Errorf("stop order (-want +got):\n%s", diff)
	}
}

func TestGroupContextErrorsAreFailuresUntilStopped(t *testing.T) {
	var g Group
	g.Go("a", func(context.Context) error { return context.DeadlineExceeded })
	if err := g.Run(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run = %v, want the deadline of part a", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g = Group{}
	g.Go("a", func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() })
	if err := g.Run(ctx); err != nil {
		t.Errorf("Run = %v, want nil after ctx ended", err)
	}
}

func TestGroupDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		var order []string
		g := Group{Timeout: 5 * time.Second}
		g.Go("first", stopper(&order, "first", nil))
		g.Go("stuck", func(context.Context) error { <-release; return nil })
		cancel0 := time.AfterFunc(time.Second, cancel)
		defer cancel0.Stop()
		start := time.Now()
		err := g.Run(ctx)
		if err == nil || !strings.Contains(err.Error(), "stuck: did not stop") {
			t.Errorf("Run = %v, want stuck named", err)
		}
		if diff := cmp.Diff([]string{"first"}, order); diff != "" {
			t.Errorf("stopped at the deadline (-want +got):\n%s", diff)
		}
		if got, want := time.Since(start), 7*time.Second; got != want {
			t.Errorf("Run took %v, want %v", got, want)
		}
		close(release)
	})
}

func TestMainExitCodes(t *testing.T) {
	type config struct {
		Common
	}
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	kill := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	for name, tc := range map[string]struct {
		args []string
		f    func(context.Context, *slog.Logger) error
		want int
	}{
		"clean": {nil, func(context.Context, *slog.Logger) error { return nil }, 0},
		"error": {nil, func(context.Context, *slog.Logger) error { return errors.New("boom") }, 1},
		"wrong": {nil, func(context.Context, *slog.Logger) error {
			return fmt.Errorf("listen: %w", &settings.Wrong{Setting: "LISTEN", Err: errors.New("in use")})
		}, 2},
		"usage":  {[]string{"--log-level=loud"}, nil, 2},
		"help":   {[]string{"--help"}, nil, 0},
		"signal": {nil, func(ctx context.Context, _ *slog.Logger) error { kill(); <-ctx.Done(); return ctx.Err() }, 0},
		"second signal": {nil, func(ctx context.Context, _ *slog.Logger) error {
			kill()
			<-ctx.Done()
			select {
			case <-ForceStop(ctx):
				return errors.New("forced by one signal")
			default:
			}
			kill()
			<-ForceStop(ctx)
			return context.Cause(ctx)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			os.Args = append([]string{"prog"}, tc.args...)
			if got := Main("prog", "about", &config{}, tc.f); got != tc.want {
				t.Errorf("Main = %d, want %d", got, tc.want)
			}
		})
	}
}
