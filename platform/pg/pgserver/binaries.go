package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

var majorVersion = regexp.MustCompile(`\) (\d+)`)

// findBinaries returns the directory of initdb and postgres: the newest installed
// one, or the one that made the existing cluster; a downloaded one where there is none.
func findBinaries(ctx context.Context, h *home, progress func(string)) (string, error) {
	want := 0 // any
	if text, err := os.ReadFile(filepath.Join(h.data(), "PG_VERSION")); err == nil {
		if want, err = strconv.Atoi(string(bytes.TrimSpace(text))); err != nil {
			return "", fmt.Errorf("read version of the cluster: %w", err)
		}
	}
	best, bestMajor := "", 0
	for _, dir := range installed(h) {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			continue
		}
		out, err := h.command(ctx, filepath.Join(dir, "postgres"), "--version").Output()
		if err != nil {
			continue
		}
		// postgres (PostgreSQL) 15.14 (Debian ...)
		match := majorVersion.FindSubmatch(out)
		if match == nil {
			continue
		}
		major, err := strconv.Atoi(string(match[1]))
		if err == nil && major > bestMajor && (want == 0 || major == want) {
			best, bestMajor = dir, major
		}
	}
	switch {
	case best != "":
		return best, nil
	case want != 0:
		return "", fmt.Errorf("the database in %s needs PostgreSQL %d, which is not installed", h.dir, want)
	}
	progress("downloading PostgreSQL (about 30 MB, once)")
	return download(ctx, h, embeddedpostgres.DefaultConfig().Version(embeddedpostgres.V17))
}

// installed lists the directories that may hold PostgreSQL's programs.
func installed(h *home) []string {
	dirs := []string{h.file("bin/bin")}
	if path, err := exec.LookPath("postgres"); err == nil {
		if target, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(target))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		matches, err := filepath.Glob(pattern)
		if err == nil {
			dirs = append(dirs, matches...)
		}
	}
	return slices.Compact(dirs)
}

// download fetches PostgreSQL into the home. The library can only fetch, create
// and start in one go, so it gets a data path inside a file, which ends it after
// the fetch; what counts is whether the programs are there.
func download(ctx context.Context, h *home, config embeddedpostgres.Config) (string, error) {
	fresh, final := h.file("bin.new"), h.file("bin") // renamed when complete
	if err := os.RemoveAll(fresh); err != nil {
		return "", fmt.Errorf("remove an incomplete download: %w", err)
	}
	port, err := freePort(ctx)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	fetch := embeddedpostgres.NewDatabase(config.
		Port(uint32(port)). //nolint:gosec // below 65536
		CachePath(filepath.Join(fresh, "cache")).
		RuntimePath(filepath.Join(fresh, "run")).
		BinariesPath(fresh).
		DataPath(h.file("lock/none")).
		Logger(&out))
	result := make(chan error, 1)
	// The library cannot be cancelled; when ctx ends, the process is about to end too.
	go func() { result <- fetch.Start() }()
	select {
	case <-ctx.Done():
		return "", fmt.Errorf("download PostgreSQL: %w", ctx.Err())
	case err = <-result:
	}
	if _, statErr := os.Stat(filepath.Join(fresh, "bin", "initdb")); statErr != nil {
		return "", fmt.Errorf("PostgreSQL is not installed and cannot be downloaded; install it (package postgresql): %w",
			errors.Join(err, errors.New(strings.TrimSpace(out.String()))))
	}
	if err := os.RemoveAll(filepath.Join(fresh, "cache")); err != nil {
		return "", fmt.Errorf("remove the downloaded archive: %w", err)
	}
	if err := h.chownAll(fresh); err != nil {
		return "", fmt.Errorf("give PostgreSQL to its user: %w", err)
	}
	if err := os.Rename(fresh, final); err != nil {
		return "", fmt.Errorf("download PostgreSQL: %w", err)
	}
	return filepath.Join(final, "bin"), nil
}
