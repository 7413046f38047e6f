package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
)

// PostgresConfig holds the settings of `starling postgres`.
type PostgresConfig struct {
	run.Common
	Data string `name:"data" env:"STARLING_DATA,STATE_DIRECTORY" help:"Folder that keeps the data; made where it is missing."`
}

// Validate tells what is wrong with the settings.
func (c *PostgresConfig) Validate() error {
	var faults settings.Faults
	faults.If(c.Data == "", "STARLING_DATA must name the folder that keeps the data")
	return faults.Err()
}

// postgres runs the private PostgreSQL of a data folder without the services, whose writes would be missing in a dump, or in the way of
// what is restored. Where it is stands in the data folder, as while the whole system runs.
func postgres(ctx context.Context, cfg PostgresConfig, log *slog.Logger, out io.Writer) error {
	data, err := folder(cfg.Data)
	if err != nil {
		return err
	}
	if err := makeFolder(data); err != nil {
		return err
	}
	s := &system{cfg: Config{Common: cfg.Common, Data: data}, serving: &serving{log: log}, out: out, began: time.Now()}
	stop, err := s.startPostgres(ctx, log)
	if err != nil {
		return s.unlessStopped(ctx, err)
	}
	defer stop()
	_, _ = fmt.Fprintf(out, "PostgreSQL runs; its address is in %s\n", filepath.Join(data, databaseFile))
	<-ctx.Done()
	return nil
}
