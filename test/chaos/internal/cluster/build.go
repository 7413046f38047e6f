package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// programs are built from source for every run; Go's cache makes that cheap.
func programs() []string {
	return []string{
		"./gateway/cmd/gateway", "./chat-service/cmd/chat-service", "./presence-service/cmd/presence-service",
		"./auth-service/cmd/auth-service", "github.com/nats-io/nats-server/v2",
	}
}

// Root finds the repository: the folder of go.work.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOWORK").Output()
	if err != nil {
		return "", fmt.Errorf("find go.work: %w", err)
	}
	work := strings.TrimSpace(string(out))
	if work == "" || work == "off" {
		return "", fmt.Errorf("GOWORK is %q: run this inside the repository", work)
	}
	return filepath.Dir(work), nil
}

// Build compiles the programs, with -tags sabotage where they are to be broken on purpose, and returns their folder.
func Build(ctx context.Context, root string, sabotage bool) (string, error) {
	dir, args := filepath.Join(root, "bin", "chaos"), []string{"build"}
	if sabotage {
		dir, args = dir+"-sabotage", append(args, "-tags", "sabotage")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // programs
		return "", fmt.Errorf("make the folder of the programs: %w", err)
	}
	args = append(args, "-o", dir+string(filepath.Separator))
	cmd := exec.CommandContext(ctx, "go", append(args, programs()...)...) //nolint:gosec // fixed arguments
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return dir, nil
}
