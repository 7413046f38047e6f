// Command auth-service keeps users, logins, tokens and keys.
package main

import (
	"context"
	"log/slog"
	"os"

	authservice "github.com/starling-chat/starling/auth-service"
	"github.com/starling-chat/starling/platform/run"
)

func main() {
	var cfg authservice.Config
	os.Exit(run.Main("auth-service", "Starling's auth-service: users, passwords, tokens, keys, logins, revocation.", &cfg,
		func(ctx context.Context, log *slog.Logger) error { return authservice.Run(ctx, cfg, log) }))
}
