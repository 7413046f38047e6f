// Command bed runs what Starling's processes stand on, NATS with JetStream and PostgreSQL, for tests that start and kill the
// processes themselves. It prints one line of JSON with the addresses, and ends when its standard input does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/platform/pg/pgserver"
)

func main() {
	data := flag.String("data", "", "folder for the data")
	flag.Parse()
	if err := run(context.Background(), *data); err != nil {
		fmt.Fprintln(os.Stderr, "bed:", err)
		os.Exit(1)
	}
}

const stopTimeout = 5 * time.Second

func run(ctx context.Context, data string) (err error) {
	if data == "" {
		return errors.New("-data is missing")
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	database, err := pgserver.Start(ctx, pgserver.Config{DataDir: filepath.Join(data, "postgres"), Durable: true, Log: log})
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	defer func() {
		stop, cancel := context.WithTimeout(ctx, stopTimeout)
		defer cancel()
		err = errors.Join(err, database.Stop(stop))
	}()
	bus, err := embedded.Start(embedded.Config{StoreDir: filepath.Join(data, "nats"), Host: "127.0.0.1", Log: log})
	if err != nil {
		return fmt.Errorf("start NATS: %w", err)
	}
	defer bus.Close()
	line := struct {
		Database string `json:"database"`
		NATS     string `json:"nats"`
	}{database.URL(), bus.URL()}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		return fmt.Errorf("tell the addresses: %w", err)
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
