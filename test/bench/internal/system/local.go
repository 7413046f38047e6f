//go:build linux

package system

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/starling-chat/starling/test/bench/internal/process"
)

// Local starts deploy/local: all of Starling in one process, its PostgreSQL as a child.
func Local(ctx context.Context, env Env, gateways int) (_ *System, err error) {
	s := &System{Name: "starling", Secret: secret(), log: &tail{next: env.Log}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start Starling: %w\n%s", err, s.Log())
			s.Stop(context.WithoutCancel(ctx))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	dir, err := scratch(s)
	if err != nil {
		return nil, err
	}
	binary, data := filepath.Join(dir, "starling"), filepath.Join(dir, "data")
	if env.Binary != "" {
		binary = env.Binary
	} else if err := build(ctx, env, "./deploy/local", binary); err != nil {
		return nil, err
	}
	first, err := freePorts(ctx, gateways+1)
	if err != nil {
		return nil, err
	}
	s.Admin = loopback(first + gateways).String()
	env.Say("starting Starling, %d gateway(s) in one process", gateways)
	s.onStop(func(ctx context.Context) { // PostgreSQL's files may lie elsewhere
		_ = exec.CommandContext(ctx, binary, "--clean", "--data="+data).Run() //nolint:gosec // our own binary
	})
	child, err := process.Start(process.Spec{
		Name: "Starling", Path: binary, Output: s.log,
		Args: []string{
			"--gateways=" + strconv.Itoa(gateways), "--listen=" + loopback(first).String(), "--data=" + data,
			"--admin=" + s.Admin, "--verbose",
		},
		Env: append(starlingEnv(s.Secret), databaseEnv(env)...),
	})
	if err != nil {
		return nil, err
	}
	s.onStopChild(child)
	for i := range gateways {
		s.Addresses = append(s.Addresses, loopback(first+i))
	}
	if err := process.Await(ctx, s.ready, child); err != nil {
		return nil, err
	}
	s.Roles = []Role{{Name: "server", PIDs: []int{child.PID()}, Server: true}}
	if children := process.Descendants(child.PID()); len(children) > 0 {
		s.Roles = append(s.Roles, Role{Name: "postgres", PIDs: children[:1], Tree: true})
	}
	return s, nil
}

// starlingEnv are the settings that a benchmark needs: tokens of its own, and no limit of one client's rate.
func starlingEnv(jwtSecret string) []string {
	return []string{"JWT_SECRET=" + jwtSecret, "AUTH_AUTO_PROVISION=true", "EVENT_RATE=0", "LOG_FILE_LEVEL=warn"}
}

func databaseEnv(env Env) []string {
	if env.DatabaseURL == "" {
		return nil
	}
	return []string{"DATABASE_URL=" + env.DatabaseURL}
}

// ready asks every gateway whether it serves, and through it auth-service.
func (s *System) ready(ctx context.Context) error {
	for _, a := range s.Addresses {
		for _, path := range []string{"/healthz", "/.well-known/jwks.json"} {
			if err := healthy(ctx, a.String(), path); err != nil {
				return err
			}
		}
	}
	return nil
}

// External is a system that runs already; pid may be 0 when its process is unknown.
func External(name string, addresses []netip.AddrPort, jwtSecret string, pid int, admin string) *System {
	s := &System{Name: name, Addresses: addresses, Secret: jwtSecret, Admin: admin, log: &tail{next: io.Discard}}
	if pid != 0 {
		s.Roles = []Role{{Name: "server", PIDs: []int{pid}, Server: true}}
	}
	return s
}
