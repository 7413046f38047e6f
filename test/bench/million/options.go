//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	connections int
	perProcess  int
	step        int
	pending     int
	reserve     int // MiB
	roomSize    int
	transport   string
	reconnect   bool
	settle      time.Duration
	stalled     time.Duration
	timeout     time.Duration
	databaseURL string
	json        string
	html        string
	logFile     string
}

// reserveFDs are the descriptors of a process that are no connections: of a gateway, or of a crowd.
const reserveFDs = 300

func parse(args []string, env func(string) string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench-million", flag.ContinueOnError)
	f.IntVar(&o.connections, "connections", 1_000_000, "connections wanted, a number")
	f.IntVar(&o.perProcess, "per-gateway", 0, "connections of one gateway, a number; 0 takes what the descriptor limit leaves")
	f.IntVar(&o.step, "step", 20_000, "connections between two looks at the machine's memory, a number")
	f.IntVar(&o.pending, "pending", 512, "connections being opened at once, of all, a number")
	f.IntVar(&o.reserve, "reserve", 1536, "memory of the machine that stays free, in MiB: there it stops growing")
	f.IntVar(&o.roomSize, "room", 10, "members of a room, a number; 0 has nobody join one")
	f.StringVar(&o.transport, "transport", "epoll", "TRANSPORT of the gateways")
	f.BoolVar(&o.reconnect, "reconnect", true, "cut all connections off at the end, and measure how long they take to be back")
	f.DurationVar(&o.settle, "settle", 20*time.Second, "between the last connection and the measurement of memory")
	f.DurationVar(&o.stalled, "stalled", time.Minute, "how long nothing may move before it stops growing")
	f.DurationVar(&o.timeout, "timeout", 90*time.Minute, "longest time for the whole run")
	f.StringVar(&o.databaseURL, "database-url", env("DATABASE_URL"), "PostgreSQL to use instead of a private one (environment DATABASE_URL)")
	f.StringVar(&o.json, "json", "", "file for the results as JSON")
	f.StringVar(&o.html, "html", "", "file for the results as one page with plots")
	f.StringVar(&o.logFile, "log", "", "file for what the started processes print")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, o.check()
}

func (o *options) check() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the descriptor limit: %w", err)
	}
	room := int(min(limit.Cur, 1_000_000)) - reserveFDs
	if o.perProcess == 0 {
		o.perProcess = room
	}
	for _, b := range []struct {
		name           string
		value, low, up int
	}{
		{"connections", o.connections, 1, 4_000_000},
		{"per-gateway", o.perProcess, 1, room},
		{"step", o.step, 1, 1_000_000},
		{"pending", o.pending, 1, 16_384},
		{"reserve", o.reserve, 0, 1 << 20},
		{"room", o.roomSize, 0, 1000},
	} {
		if b.value < b.low || b.value > b.up {
			return fmt.Errorf("-%s must be %d to %d", b.name, b.low, b.up)
		}
	}
	if o.gateways() > maxGateways {
		return fmt.Errorf("%d connections of %d a gateway take %d gateways, %d at most", o.connections, o.perProcess, o.gateways(), maxGateways)
	}
	if o.settle < 0 || o.stalled < time.Second || o.timeout < time.Second {
		return errors.New("-stalled and -timeout must be 1s or more, -settle not negative")
	}
	return nil
}

// maxGateways bounds the processes; each takes two ports.
const maxGateways = 200

func (o *options) gateways() int { return (o.connections + o.perProcess - 1) / o.perProcess }
