//go:build linux

package system

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/starling-chat/starling/platform/pg/pgserver"
	"github.com/starling-chat/starling/test/internal/launch"
)

// Reference starts the Node server in test/bench/reference with a PostgreSQL of its own.
func Reference(ctx context.Context, env Env) (_ *System, err error) {
	s := &System{Name: "reference", Secret: secret(), log: &tail{next: env.Log}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start the reference server: %w\n%s", err, s.Log())
			s.Stop(context.WithoutCancel(ctx))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	dir := filepath.Join(env.Root, "test", "bench", "reference")
	if err := installReference(ctx, env, dir); err != nil {
		return nil, err
	}
	database, err := s.database(ctx, env)
	if err != nil {
		return nil, err
	}
	port, err := launch.NewPorts().TakeRow(1)
	if err != nil {
		return nil, err
	}
	address := launch.Loopback(port)
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("find Node: %w", err)
	}
	env.Say("starting the reference server")
	server := launch.NewProcess(launch.Spec{
		Name: "the reference server", Path: node, Args: []string{"server.js"}, Dir: dir, Output: s.log, Orderly: true,
		Env: []string{"JWT_SECRET=" + s.Secret, "DATABASE_URL=" + database, "PORT=" + strconv.Itoa(port), "NODE_ENV=production"},
	})
	if err := s.start(server); err != nil {
		return nil, err
	}
	s.Addresses = []netip.AddrPort{address}
	answers := func(ctx context.Context) error { return launch.Get(ctx, "http://"+address.String()+"/healthz", nil) }
	if err := launch.Await(ctx, launch.Poll, answers, server); err != nil {
		return nil, err
	}
	s.Roles = append([]Role{{Name: "server", PIDs: []int{server.PID()}, Server: true}}, s.Roles...)
	return s, nil
}

// installReference installs the pinned packages, once.
func installReference(ctx context.Context, env Env, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "socket.io")); err == nil {
		return nil
	}
	env.Say("installing the reference server's packages (npm ci)")
	cmd := exec.CommandContext(ctx, "npm", "ci", "--no-progress")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w\n%s", dir, err, out)
	}
	return nil
}

// database is the given PostgreSQL or a private one that keeps what it commits.
func (s *System) database(ctx context.Context, env Env) (url string, err error) {
	if env.DatabaseURL != "" {
		return env.DatabaseURL, nil
	}
	dir, err := scratch(s)
	if err != nil {
		return "", err
	}
	env.Say("starting PostgreSQL")
	server, err := pgserver.Start(ctx, pgserver.Config{DataDir: filepath.Join(dir, "postgres"), Durable: true})
	if err != nil {
		return "", fmt.Errorf("start PostgreSQL: %w", err)
	}
	s.onStop(func(ctx context.Context) {
		_ = server.Stop(ctx)
		_ = os.RemoveAll(server.Dir())
	})
	s.Roles = append(s.Roles, Role{Name: "postgres", PIDs: []int{server.Pid()}, Tree: true})
	return server.URL(), nil
}
