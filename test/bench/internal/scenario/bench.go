//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/starling-chat/starling/test/bench/internal/report"
	"github.com/starling-chat/starling/test/bench/internal/swarm"
	"github.com/starling-chat/starling/test/bench/internal/system"
	"github.com/starling-chat/starling/test/internal/proc"
)

// Options are the sizes of the scenarios.
type Options struct {
	// The load.
	Conns     int // of send and hot
	Rooms     int // of send
	Window    int // messages in flight of one sender
	IdleConns int // of idle and storm
	IdleRooms int // of ten, that each of those of idle is in at the end
	Rate      int // messages per second of latency and mixed
	Pace      int // messages per second of pace into many rooms; half as many into one

	InboxUsers int // of inbox, a multiple of 10
	InboxRooms int // in the inbox of each, of ten members; 0: nobody has an inbox
	InboxRate  int // messages per second of inbox

	PresenceScope string // PRESENCE_SCOPE of the system; "" is its default

	// The times of each load.
	Warmup   time.Duration // under load, not measured
	Duration time.Duration // under load, measured

	// The load generator.
	Loops   int
	Pending int    // handshakes at once
	Profile string // folder for profiles of the server; empty takes none
}

// Bench runs scenarios on one system.
type Bench struct {
	Options
	System *system.System
	Run    string // makes users and rooms of this run distinct
	Say    func(format string, args ...any)

	epoch      time.Time
	generators []int // processes of the load generator beside this one
}

// scenarios in the order in which they run: memory is measured on a fresh process.
var scenarios = []struct { //nolint:gochecknoglobals // a constant list
	name string
	run  func(*Bench, context.Context, *report.Result) error
}{
	{"idle", (*Bench).idle},
	{"storm", (*Bench).storm},
	{"send", (*Bench).send},
	{"hot", (*Bench).hot},
	{"fanout", (*Bench).fanout},
	{"pace", (*Bench).pace},
	{"latency", (*Bench).latency},
	{"mixed", (*Bench).mixed},
	{"slow", (*Bench).slow},
	{Inbox, (*Bench).inbox},
}

// Inbox is the scenario that is not for every system: it needs one of Split, with a gateway for as many users as a process has descriptors.
const Inbox = "inbox"

// Names are the scenarios in the order in which they run.
func Names() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// Do runs one scenario. What goes wrong with the system is a problem of the result, not an error.
func (b *Bench) Do(ctx context.Context, name string) (*report.Result, error) {
	for _, s := range scenarios {
		if s.name != name {
			continue
		}
		r := &report.Result{Scenario: name, System: b.System.Name, Load: proc.Load()}
		b.Say("%s on %s (load %.2f)", name, b.System.Name, r.Load)
		b.epoch = time.Now()
		err := s.run(b, ctx, r)
		r.Took = time.Since(b.epoch)
		if err != nil && ctx.Err() == nil {
			r.Problem("%v", err)
			err = nil
		}
		return r, err
	}
	return nil, fmt.Errorf("unknown scenario %q", name)
}

// now is the time since the scenario's start.
func (b *Bench) now() time.Duration { return time.Since(b.epoch) }

func (b *Bench) newSwarm() (*swarm.Swarm, error) {
	return swarm.New(swarm.Config{Addresses: b.System.Addresses, Loops: b.Loops, Pending: b.Pending})
}

// userID is the id of user number i of this run.
func (b *Bench) userID(i int) string { return "bench-" + b.Run + "-" + strconv.Itoa(i) }

// userName is what that user is called.
func userName(i int) string { return "User " + strconv.Itoa(i) }

// token signs in user number i of this run.
func (b *Bench) token(i int) (string, error) {
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": b.userID(i), "name": userName(i), "iat": now.Unix(), "exp": now.Add(2 * time.Hour).Unix(),
	})
	signed, err := t.SignedString([]byte(b.System.Secret))
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed, nil
}

// errPatience is the cause of the end of a wait that took too long.
var errPatience = errors.New("it takes too long")

// until polls done until it returns true. It prints line every 2 s meanwhile.
func (b *Bench) until(ctx context.Context, patience time.Duration, line func() string, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	said := time.Now()
	for !done() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", line(), context.Cause(ctx))
		}
		if time.Since(said) >= 2*time.Second {
			said = time.Now()
			b.Say("  %s", line())
		}
	}
	return nil
}

// pause lets d pass.
func (b *Bench) pause(ctx context.Context, d time.Duration, line func() string) error {
	end := time.Now().Add(d)
	return b.until(ctx, d+time.Minute, line, func() bool { return !time.Now().Before(end) })
}

// usage is the CPU time that every process has used up to a moment.
type usage struct {
	at   time.Time
	cpu  []time.Duration // by the system's roles
	self time.Duration
}

func (b *Bench) usage() usage {
	u := usage{at: time.Now(), self: proc.CPU(os.Getpid())}
	for _, pid := range b.generators {
		u.self += proc.CPU(pid)
	}
	for _, role := range b.System.Roles {
		u.cpu = append(u.cpu, role.CPU())
	}
	return u
}

// serverCPU is the CPU time of the process that clients are connected to, all that of the whole system.
func (b *Bench) serverCPU(from, to usage) (server, all time.Duration) {
	for i, role := range b.System.Roles {
		used := to.cpu[i] - from.cpu[i]
		all += used
		if role.Server {
			server += used
		}
	}
	return server, all
}

// addCPU reports who kept how many cores busy.
func (b *Bench) addCPU(r *report.Result, prefix string, from, to usage) {
	elapsed := to.at.Sub(from.at).Seconds()
	for i, role := range b.System.Roles {
		r.Add(prefix+"CPU of "+role.Name, "cores", (to.cpu[i]-from.cpu[i]).Seconds()/elapsed, report.Neutral)
	}
	r.Add(prefix+"CPU of the load generator", "cores", (to.self-from.self).Seconds()/elapsed, report.Neutral)
}

// rss is the resident memory of the process that clients are connected to; ok is false when it is not known.
func (b *Bench) rss() (bytes int64, ok bool) {
	for _, role := range b.System.Roles {
		if !role.Server {
			continue
		}
		for _, pid := range role.PIDs {
			n := proc.Memory(pid, proc.Resident)
			if n == 0 {
				return 0, false
			}
			bytes += n
			ok = true
		}
	}
	return bytes, ok
}
