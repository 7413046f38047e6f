package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	authservice "github.com/starling-chat/starling/auth-service"
	"github.com/starling-chat/starling/platform/settings"
)

// databaseFile is a file in the data folder with the address of the private PostgreSQL, which is another at each start, while it runs.
const databaseFile = "database-url"

// operatorCommands are the commands of operators, and where the system is that they are about.
type operatorCommands struct {
	Data        string       `name:"data" env:"STARLING_DATA" help:"Folder that keeps the data of the running Starling; empty takes the one in the user's cache folder."`
	DatabaseURL settings.URL `name:"database-url" env:"DATABASE_URL" help:"PostgreSQL of the running Starling, a URL, where it has no private one."`
	NATSURL     settings.URL `name:"nats-url" env:"NATS_URL" help:"NATS of the running Starling, a URL, where it has none inside."`

	authservice.Commands `embed:""`
}

// operate runs a command of operators beside the running system and returns the exit code.
func operate(ctx context.Context, args []string) int {
	var commands operatorCommands
	return authservice.Command(ctx, authservice.Operation{
		Program: "starling", Args: args, Parsed: &commands, Commands: &commands.Commands, Settings: commands.settings,
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
	})
}

// settings are those of auth-service in the running system. A NATS inside of it nobody else reaches.
func (o *operatorCommands) settings() (cfg authservice.Config, noBus bool, err error) {
	noBus = o.NATSURL == ""
	if o.DatabaseURL == "" {
		if o.DatabaseURL, err = o.private(); err != nil {
			return cfg, noBus, err
		}
	}
	err = settings.Parse("auth-service", "", &cfg, []string{
		"--db-schema=auth", "--database-url=" + o.DatabaseURL.Reveal(), "--nats-url=" + cmp.Or(o.NATSURL, insideURL).Reveal(),
	})
	if err != nil {
		err = &settings.Wrong{Setting: "settings of auth-service", Err: err}
	}
	return cfg, noBus, err
}

// private is the address of the running system's own PostgreSQL.
func (o *operatorCommands) private() (settings.URL, error) {
	data, err := folder(o.Data)
	if err != nil {
		return "", err
	}
	raw, err := os.ReadFile(filepath.Join(data, databaseFile)) //nolint:gosec // in the user's own folder
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("no Starling runs with the data folder %s (another --data?)", data)
	case err != nil:
		return "", &settings.Wrong{Setting: "STARLING_DATA", Err: err}
	}
	return settings.URL(strings.TrimSpace(string(raw))), nil
}
