// Command chat-service runs rooms, messages and notifications. Settings: --help.
package main

import (
	"context"
	"log/slog"
	"os"

	chatservice "github.com/starling-chat/starling/chat-service"
	"github.com/starling-chat/starling/platform/run"
)

func main() {
	var cfg chatservice.Config
	os.Exit(run.Main("chat-service", "Rooms, membership, messages, receipts, typing and notifications of Starling.", &cfg,
		func(ctx context.Context, log *slog.Logger) error { return chatservice.Run(ctx, cfg, log) }))
}
