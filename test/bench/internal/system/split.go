//go:build linux

package system

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/test/internal/launch"
)

// NATSCommand as first argument makes the benchmark's own binary a NATS server; the second is its folder and port.
const NATSCommand = "serve-nats"

// ServeNATS runs a NATS server with JetStream in folder:port until ctx ends. At the port behind it NATS tells about itself.
func ServeNATS(ctx context.Context, place string, out io.Writer) error {
	dir, port, err := net.SplitHostPort(place)
	if err != nil {
		return fmt.Errorf("read the place of NATS: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("read the port of NATS: %w", err)
	}
	server, err := embedded.Start(embedded.Config{StoreDir: dir, Port: number, Monitor: number + 1})
	if err != nil {
		return fmt.Errorf("start NATS: %w", err)
	}
	defer server.Close()
	if _, err := fmt.Fprintln(out, "NATS listens at", server.URL()); err != nil {
		return fmt.Errorf("tell the address: %w", err)
	}
	<-ctx.Done()
	return nil
}

// split is a system under construction. One goroutine owns it.
type split struct {
	*System
	env     Env
	dir     string
	ports   *launch.Ports
	token   string
	common  []string
	started []*launch.Process
}

// Split starts one process for each service, as a deployment does, so that the cost of a gateway shows by itself.
func Split(ctx context.Context, env Env, gateways int) (_ *System, err error) {
	p := &split{System: &System{Name: "starling", Secret: secret(), log: &tail{next: env.Log}}, env: env, ports: launch.NewPorts(), token: secret()}
	s := p.System
	defer func() {
		if err != nil {
			err = fmt.Errorf("start Starling: %w\n%s", err, s.Log())
			s.Stop(context.WithoutCancel(ctx))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if p.dir, err = scratch(s); err != nil {
		return nil, err
	}
	database, err := s.database(ctx, env)
	if err != nil {
		return nil, err
	}
	s.Database = database
	nats, err := p.nats(ctx)
	if err != nil {
		return nil, err
	}
	p.common = append(starlingEnv(s.Secret, env), "DATABASE_URL="+database, "NATS_URL=nats://"+nats,
		"SERVICE_TOKEN="+p.token, "LOG_LEVEL=warn", "LOG_FORMAT=text")
	for _, name := range []string{"auth-service", "chat-service", "presence-service"} {
		if err := p.service(ctx, name); err != nil {
			return nil, err
		}
	}
	if err := p.gatewaysUp(ctx, gateways); err != nil {
		return nil, err
	}
	return s, nil
}

func (p *split) start(name, binary string, env []string, args ...string) error {
	child := launch.NewProcess(launch.Spec{Name: name, Path: binary, Args: args, Env: env, Output: p.log, Orderly: true})
	if err := p.System.start(child); err != nil {
		return err
	}
	p.started = append(p.started, child)
	p.Roles = append(p.Roles, Role{Name: name, PIDs: []int{child.PID()}})
	return nil
}

func (p *split) nats(ctx context.Context) (address string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	port, err := p.ports.TakeRow(2)
	if err != nil {
		return "", err
	}
	address = launch.Loopback(port).String()
	p.NATS = launch.Loopback(port + 1).String()
	if err := p.start("nats", self, nil, NATSCommand, net.JoinHostPort(filepath.Join(p.dir, "nats"), strconv.Itoa(port))); err != nil {
		return "", err
	}
	return address, launch.Await(ctx, launch.Poll, func(ctx context.Context) error { return launch.Listening(ctx, address) }, p.started...)
}

// service builds and starts one of the services.
func (p *split) service(ctx context.Context, name string) error {
	binary, err := build(ctx, p.env, p.dir, "./"+name+"/cmd/"+name)
	if err != nil {
		return err
	}
	address, err := p.ports.Take()
	if err != nil {
		return err
	}
	env := append(slices.Clip(p.common), "GRPC_LISTEN="+address, "ADMIN_LISTEN=")
	variable := map[string]string{
		"auth-service": "AUTH_SERVICE_ADDR=", "chat-service": "CHAT_SERVICE_ADDR=", "presence-service": "PRESENCE_SERVICE_ADDR=",
	}[name]
	p.common = append(slices.Clip(p.common), variable+address)
	return p.start(name, binary, env)
}

func (p *split) gatewaysUp(ctx context.Context, n int) error {
	binary, err := build(ctx, p.env, p.dir, "./gateway/cmd/gateway")
	if err != nil {
		return err
	}
	role := Role{Name: "gateway", Server: true}
	for range n {
		port, err := p.ports.TakeRow(1)
		if err != nil {
			return err
		}
		admin, err := p.ports.Take()
		if err != nil {
			return err
		}
		listen := launch.Loopback(port)
		env := append(slices.Clip(p.common), "LISTEN="+listen.String(), "ADMIN_LISTEN="+admin, "GRPC_LISTEN=", "DRAIN_WINDOW=500ms")
		if err := p.start("gateway", binary, env); err != nil {
			return err
		}
		role.PIDs = append(role.PIDs, p.Roles[len(p.Roles)-1].PIDs...)
		p.Roles = p.Roles[:len(p.Roles)-1]
		p.Addresses = append(p.Addresses, listen)
		p.Admins = append(p.Admins, admin)
	}
	p.Roles = append([]Role{role}, p.Roles...)
	return launch.Await(ctx, launch.Poll, p.ready, p.started...)
}
