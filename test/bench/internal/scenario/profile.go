//go:build linux

package scenario

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/report"
)

// during waits for d, reads what everybody has used before and after, and takes the server's profiles meanwhile, when they are wanted.
func (b *Bench) during(ctx context.Context, r *report.Result, name string, d time.Duration, line func() string) (from, to usage, err error) {
	wait := b.profile(ctx, r, name, d)
	defer wait()
	from = b.usage()
	err = b.pause(ctx, d, line)
	return from, b.usage(), err
}

// profile takes the profiles of the server's CPU time and of its allocations over d in the background, when profiles are wanted; call wait
// to await them.
func (b *Bench) profile(ctx context.Context, r *report.Result, name string, d time.Duration) (wait func()) {
	if b.Profile == "" || len(b.System.Admins) == 0 {
		return func() {}
	}
	path := filepath.Join(b.Profile, b.System.Name+"-"+strings.NewReplacer(" ", "-", ":", "-").Replace(name))
	kinds := map[string]string{"profile": path + ".pprof", "allocs": path + "-allocs.pprof"}
	done := make(chan error, len(kinds))
	for kind, path := range kinds {
		go func() { done <- fetchProfile(ctx, b.System.Admins[0], kind, d, path) }()
	}
	return func() {
		for range kinds {
			if err := <-done; err != nil {
				r.Problem("no profile: %v", err)
			}
		}
	}
}

func fetchProfile(ctx context.Context, admin, kind string, d time.Duration, path string) error {
	ctx, cancel := context.WithTimeout(ctx, d+10*time.Second)
	defer cancel()
	url := fmt.Sprintf("http://%s/debug/pprof/%s?seconds=%d", admin, kind, max(1, int(d.Seconds())))
	return fetch(ctx, url, path)
}

// fetch keeps what url answers in the file path, or nowhere.
func fetch(ctx context.Context, url, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask for a profile: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask for a profile: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask for a profile: status %d", res.StatusCode)
	}
	if path == "" {
		_, err := io.Copy(io.Discard, res.Body)
		return err
	}
	f, err := os.Create(path) //nolint:gosec // the user's own folder
	if err != nil {
		return fmt.Errorf("keep a profile: %w", err)
	}
	if _, err := io.Copy(f, res.Body); err != nil {
		_ = f.Close()
		return fmt.Errorf("keep a profile: %w", err)
	}
	return f.Close()
}
