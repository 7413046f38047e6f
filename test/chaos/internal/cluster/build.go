package cluster

import (
	"context"
	"path/filepath"

	"github.com/starling-chat/starling/test/internal/launch"
)

// programs are built from source for every run; Go's cache makes that cheap.
func programs() []string {
	return []string{
		"./gateway/cmd/gateway", "./chat-service/cmd/chat-service", "./presence-service/cmd/presence-service",
		"./auth-service/cmd/auth-service", "github.com/nats-io/nats-server/v2",
	}
}

// Build compiles the programs, with -tags sabotage where they are to be broken on purpose, and returns their folder.
func Build(ctx context.Context, root string, sabotage bool) (dir string, err error) {
	dir, tags := filepath.Join(root, "bin", "chaos"), ""
	if sabotage {
		dir, tags = dir+"-sabotage", "sabotage"
	}
	return dir, launch.Build(ctx, root, dir, tags, programs()...)
}
