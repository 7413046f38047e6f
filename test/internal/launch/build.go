//go:build linux

package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root finds the repository from the working directory: the folder with go.work.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this inside the repository: no go.work found")
		}
		dir = parent
	}
}

// Build compiles packages of the repository at root into dir, where each program has the name of its package's folder. tags may
// be empty. Go's cache makes a second build cheap.
func Build(ctx context.Context, root, dir, tags string, packages ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // programs are for everyone
		return fmt.Errorf("make the folder of the programs: %w", err)
	}
	args := []string{"build", "-tags", tags, "-o", dir + string(filepath.Separator)}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...) //nolint:gosec // constant packages
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", strings.Join(packages, ", "), err, bytes.TrimSpace(out))
	}
	return nil
}
