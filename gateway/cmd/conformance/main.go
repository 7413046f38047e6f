// Command conformance serves the gateway's protocol stack for the official test suites; see -help.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/starling-chat/starling/gateway/internal/conformance"
)

func main() { os.Exit(serve()) }

func serve() int {
	cfg := conformance.Config{Ready: func(addr net.Addr) { fmt.Printf("listening on http://%s\n", addr) }}
	verbose := flag.Bool("verbose", false, "log what the protocol stack does")
	flag.StringVar(&cfg.Suite, "suite", "protocol", "suite to serve: "+strings.Join(conformance.Suites(), ", "))
	flag.StringVar(&cfg.Addr, "addr", "", "address to listen on, host:port; empty takes the suite's own")
	flag.DurationVar(&cfg.Patience, "patience", 0, "least time for a client's pong and first CONNECT, a duration; 0 takes the suite's own")
	flag.DurationVar(&cfg.PingInterval, "ping-interval", 0, "time between two heartbeats, a duration; 0 takes the suite's own")
	flag.Parse()
	level := slog.LevelWarn
	if *verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := conformance.Run(ctx, cfg, log); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		return 1
	}
	return 0
}
