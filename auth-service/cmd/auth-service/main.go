// Command auth-service keeps users, logins, tokens and keys. With users or keys as its first argument it is an operator's command.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	authservice "github.com/starling-chat/starling/auth-service"
	"github.com/starling-chat/starling/platform/run"
)

const about = "Starling's auth-service: users, passwords, tokens, keys, logins, revocation. For operators, beside the running service: " +
	"auth-service users --help, auth-service keys --help."

func main() {
	if authservice.IsCommand(os.Args[1:]) {
		os.Exit(command(os.Args[1:]))
	}
	var cfg authservice.Config
	os.Exit(run.Main("auth-service", about, &cfg,
		func(ctx context.Context, log *slog.Logger) error { return authservice.Run(ctx, cfg, log) }))
}

func command(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var commands authservice.Commands
	return authservice.Command(ctx, authservice.Operation{
		Program: "auth-service", Args: args, Parsed: &commands, Commands: &commands, In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
	})
}
