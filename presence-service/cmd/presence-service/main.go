// Command presence-service knows who is online. See --help for its settings.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/starling-chat/starling/platform/run"
	presenceservice "github.com/starling-chat/starling/presence-service"
)

func main() {
	var cfg presenceservice.Config
	os.Exit(run.Main(presenceservice.Name, "Knows who is online, and when the others were last seen.", &cfg,
		func(ctx context.Context, log *slog.Logger) error { return presenceservice.Run(ctx, cfg, log) }))
}
