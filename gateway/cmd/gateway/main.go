// Command gateway runs one Starling gateway; see --help.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/starling-chat/starling/gateway"
	"github.com/starling-chat/starling/platform/run"
)

func main() {
	var cfg gateway.Config
	os.Exit(run.Main("gateway", "Starling's edge: Socket.IO connections, REST, fan-out.", &cfg,
		func(ctx context.Context, log *slog.Logger) error { return gateway.Run(ctx, cfg, log) }))
}
