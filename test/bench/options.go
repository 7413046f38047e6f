//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/starling-chat/starling/test/bench/internal/scenario"
	"github.com/starling-chat/starling/test/bench/internal/swarm"
)

// options are the flags.
type options struct {
	scenario.Options
	scenarios   string
	reference   bool
	onlyRef     bool
	split       bool
	gateways    int
	binary      string
	urls        string
	secret      string
	pid         int
	admin       string
	databaseURL string
	json        string
	html        string
	logFile     string
	timeout     time.Duration

	names     []string
	addresses []netip.AddrPort
}

// bounds of one run.
const (
	maxConns    = 19_000 // below the descriptor limit of 20,000 that many systems have
	maxDuration = 10 * time.Minute
	reserveFDs  = 200
	maxGateways = 16
)

// parse reads the flags; env gives the defaults of the secrets.
func parse(args []string, env func(string) string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.scenarios, "scenario", "all", "what to run, separated by commas: "+strings.Join(scenario.Names(), ", ")+"; all are all but inbox, which starts a system of its own as -split does, and runs alone")
	f.BoolVar(&o.reference, "reference", false, "run the Node reference server as well and print ratios")
	f.BoolVar(&o.onlyRef, "only-reference", false, "run the Node reference server only")
	f.BoolVar(&o.split, "split", false, "start one process for each service instead of everything in one")
	f.IntVar(&o.gateways, "gateways", 1, "gateways to start, a number")
	f.StringVar(&o.binary, "binary", "", "start this build of deploy/local instead of building one")
	f.StringVar(&o.urls, "url", "", "load this running system instead of starting one: the gateways' addresses, separated by commas")
	f.StringVar(&o.secret, "secret", env("JWT_SECRET"), "with -url: its JWT_SECRET (environment JWT_SECRET); it also needs AUTH_AUTO_PROVISION=true and EVENT_RATE=0")
	f.IntVar(&o.pid, "pid", 0, "with -url: process whose memory and CPU time are measured")
	f.StringVar(&o.admin, "admin", "", "with -url: host:port where that process serves /debug/pprof (PPROF=true)")
	f.StringVar(&o.databaseURL, "database-url", env("DATABASE_URL"), "PostgreSQL for the systems started, instead of private ones (environment DATABASE_URL)")
	f.IntVar(&o.Conns, "conns", 200, "connections of send, hot and mixed, a number")
	f.IntVar(&o.Rooms, "rooms", 50, "rooms of send, a number")
	f.IntVar(&o.Window, "window", 4, "messages in flight a sender of send and hot, a number")
	f.IntVar(&o.IdleConns, "idle", 5000, "connections of idle and storm, a number")
	f.IntVar(&o.IdleRooms, "idle-rooms", 0, "rooms of ten that each connection of idle joins when the rest is measured, a number: measures memory again")
	f.IntVar(&o.Rate, "rate", 500, "messages of latency and mixed, per second; slow sends a 25th of it")
	f.IntVar(&o.Pace, "pace", 10_000, "messages of pace, per second, into many rooms; half of it into one")
	f.IntVar(&o.InboxUsers, "inbox-users", 20_000, "users of inbox, a number, a multiple of 10; there is a gateway for as many as it has descriptors for")
	f.IntVar(&o.InboxRooms, "inbox-rooms", 50, "rooms of ten in the inbox of each of them, a number; with 0 they have no inbox: what their connections take without")
	f.IntVar(&o.InboxRate, "inbox-rate", 20, "messages of inbox, per second, into rooms of theirs")
	f.StringVar(&o.PresenceScope, "presence-scope", "", "PRESENCE_SCOPE of the systems started: everyone, rooms or none; with another one than everyone, a presence event in storm is a problem")
	f.DurationVar(&o.Duration, "duration", 10*time.Second, "how long each load is measured")
	f.DurationVar(&o.Warmup, "warmup", 2*time.Second, "how long each load runs before it is measured")
	f.IntVar(&o.Loops, "loops", 2, "threads of the load generator, a number")
	f.IntVar(&o.Pending, "pending", 256, "connections being opened at once, a number")
	f.StringVar(&o.Profile, "profile", "", "folder for profiles of Starling: CPU time, allocations, heap")
	f.StringVar(&o.json, "json", "", "file for the results as JSON")
	f.StringVar(&o.html, "html", "", "file for the results as one page with plots")
	f.StringVar(&o.logFile, "log", "", "file for what the started systems print")
	f.DurationVar(&o.timeout, "timeout", 30*time.Minute, "longest time for the whole run")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, o.check()
}

// check refuses what does not fit, in one line.
func (o *options) check() error {
	for _, b := range []struct {
		name           string
		value, low, up int
	}{
		{"conns", o.Conns, 1, maxConns},
		{"rooms", o.Rooms, 1, maxConns},
		{"window", o.Window, 1, 1000},
		{"idle", o.IdleConns, 1, maxConns},
		{"idle-rooms", o.IdleRooms, 0, 100},
		{"rate", o.Rate, 1, 20_000},
		{"pace", o.Pace, 2, 100_000},
		{"loops", o.Loops, 1, 16},
		{"pending", o.Pending, 1, 4096},
		{"inbox-users", o.InboxUsers, 10, 200_000},
		{"inbox-rooms", o.InboxRooms, 0, 200},
		{"inbox-rate", o.InboxRate, 1, 1000},
		{"gateways", o.gateways, 1, maxGateways},
	} {
		if b.value < b.low || b.value > b.up {
			return fmt.Errorf("-%s must be %d to %d", b.name, b.low, b.up)
		}
	}
	if o.Duration < 100*time.Millisecond || o.Duration > maxDuration || o.Warmup < 0 || o.Warmup > maxDuration {
		return fmt.Errorf("-duration and -warmup must be %v to %v, or 0 for -warmup", 100*time.Millisecond, maxDuration)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		if need := uint64(max(o.Conns, o.IdleConns+100) + reserveFDs); need > limit.Cur { //nolint:gosec // not negative
			return fmt.Errorf("%d connections need %d file descriptors, the limit is %d", max(o.Conns, o.IdleConns), need, limit.Cur)
		}
	}
	if !slices.Contains([]string{"", "everyone", "rooms", "none"}, o.PresenceScope) {
		return errors.New("-presence-scope must be everyone, rooms or none")
	}
	if o.urls != "" && (o.secret == "" || o.split) {
		return errors.New("-url needs -secret (or JWT_SECRET) and excludes -split")
	}
	if err := o.choose(); err != nil {
		return err
	}
	if slices.Contains(o.names, scenario.Inbox) {
		if err := o.forInbox(limit.Cur); err != nil {
			return err
		}
	}
	return o.resolve()
}

// forInbox has there be the system that the scenario inbox needs; descriptors is how many a process may have.
func (o *options) forInbox(descriptors uint64) error {
	switch {
	case len(o.names) > 1 || o.urls != "" || o.reference || o.onlyRef:
		return errors.New("-scenario inbox starts a system of its own and runs alone: without other scenarios, -url and -reference")
	case o.InboxUsers%10 != 0:
		return errors.New("-inbox-users must be a multiple of 10")
	}
	each := max(1, int(min(descriptors, maxConns+reserveFDs))-reserveFDs)
	o.split, o.gateways = true, max(o.gateways, (o.InboxUsers+each-1)/each)
	if o.gateways > maxGateways {
		return fmt.Errorf("%d users take %d gateways with %d descriptors each, %d at most", o.InboxUsers, o.gateways, descriptors, maxGateways)
	}
	return nil
}

// choose finds the scenarios, in the order in which they are to run.
func (o *options) choose() error {
	wanted := strings.Split(o.scenarios, ",")
	for _, name := range wanted {
		if name != "all" && !slices.Contains(scenario.Names(), name) {
			return fmt.Errorf("-scenario: unknown %q; there are %s and all", name, strings.Join(scenario.Names(), ", "))
		}
	}
	for _, name := range scenario.Names() {
		if slices.Contains(wanted, name) || slices.Contains(wanted, "all") && name != scenario.Inbox {
			o.names = append(o.names, name)
		}
	}
	return nil
}

// resolve turns -url into addresses and refuses those of other machines.
func (o *options) resolve() error {
	if o.urls == "" {
		return nil
	}
	for s := range strings.SplitSeq(o.urls, ",") {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("-url: %q is not an address such as http://127.0.0.1:3000", s)
		}
		host, port := u.Hostname(), u.Port()
		if host == "localhost" {
			host = "127.0.0.1"
		}
		if port == "" {
			port = "80"
		}
		address, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
		if err != nil || !address.Addr().IsLoopback() {
			return fmt.Errorf("-url: %q: %w", s, swarm.ErrNotLoopback)
		}
		o.addresses = append(o.addresses, address)
	}
	return nil
}
