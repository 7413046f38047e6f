//go:build linux

package system

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"

	"github.com/starling-chat/starling/test/internal/launch"
	"github.com/starling-chat/starling/test/internal/proc"
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
	binary := env.Binary
	if binary == "" {
		env.Say("building deploy/local")
		if binary, err = launch.BuildLocal(ctx, env.Root, dir); err != nil {
			return nil, err
		}
	}
	first, err := launch.NewPorts().TakeRow(gateways + 1)
	if err != nil {
		return nil, err
	}
	admin := launch.Loopback(first + gateways).String()
	s.Admins = []string{admin}
	env.Say("starting Starling, %d gateway(s) in one process", gateways)
	local := launch.NewLocal(launch.LocalSpec{
		Binary: binary, Data: filepath.Join(dir, "data"), FirstPort: first, Gateways: gateways, Output: s.log,
		Args: []string{"--admin=" + admin, "--verbose"},
		Env:  append(starlingEnv(s.Secret, env), databaseEnv(env)...),
	})
	s.onStop(local.Clean)
	if err := s.start(local.Process); err != nil {
		return nil, err
	}
	s.Addresses = local.Addresses
	if err := launch.Await(ctx, launch.Poll, local.Ready, local.Process); err != nil {
		return nil, err
	}
	pid := local.PID()
	s.Roles = []Role{{Name: "server", PIDs: []int{pid}, Server: true}}
	if children := proc.Descendants(pid); len(children) > 0 {
		s.Roles = append(s.Roles, Role{Name: "postgres", PIDs: children[:1], Tree: true})
	}
	return s, nil
}

// starlingEnv are the settings that a benchmark needs: tokens of its own, and no limit of one client's rate.
func starlingEnv(jwtSecret string, env Env) []string {
	settings := []string{
		"JWT_SECRET=" + jwtSecret, "AUTH_AUTO_PROVISION=true", "EVENT_RATE=0", "USER_ROOMS_PER_HOUR=0", "USER_JOIN_RATE=0",
		"LOG_FILE_LEVEL=warn", "PPROF=true",
	}
	if env.PresenceScope != "" {
		settings = append(settings, "PRESENCE_SCOPE="+env.PresenceScope)
	}
	return append(settings, env.Settings...)
}

func databaseEnv(env Env) []string {
	if env.DatabaseURL == "" {
		return nil
	}
	return []string{"DATABASE_URL=" + env.DatabaseURL}
}

// External is a system that runs already; pid may be 0 when its process is unknown.
func External(name string, addresses []netip.AddrPort, jwtSecret string, pid int, admin string) *System {
	s := &System{Name: name, Addresses: addresses, Secret: jwtSecret, log: &tail{next: io.Discard}}
	if admin != "" {
		s.Admins = []string{admin}
	}
	if pid != 0 {
		s.Roles = []Role{{Name: "server", PIDs: []int{pid}, Server: true}}
	}
	return s
}
