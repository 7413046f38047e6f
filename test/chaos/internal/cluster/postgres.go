package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/platform/pg/pgserver"
	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// The services work as roles of their own: the server's is a superuser, whom PostgreSQL keeps connections free for.
const (
	servicePrefix   = "service_"
	servicePassword = "chaos"
)

func serviceRole(kind string) string { return servicePrefix + kind }

// Postgres is the private server.
type Postgres struct {
	// Fixed at birth.
	cfg  pgserver.Config
	Disk *Disk // nil: on the machine's file system

	mu     sync.Mutex
	server *pgserver.Server // guarded by mu; nil while stopped
}

func startPostgres(ctx context.Context, dir string, port int, disk *Disk, log *slog.Logger) (*Postgres, error) {
	p := &Postgres{cfg: pgserver.Config{DataDir: dir, Port: port, Durable: true, Log: log}, Disk: disk}
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return p, p.makeRoles(ctx)
}

// Start starts the server unless it runs; it returns when it answers.
func (p *Postgres) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		select {
		case <-p.server.Done():
			_ = p.server.Stop(ctx) // gives its lock back
		default:
			return nil
		}
	}
	server, err := pgserver.Start(ctx, p.cfg)
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	p.server = server
	return nil
}

// StopFast rolls transactions back and writes a checkpoint, as a restart by an operator does.
func (p *Postgres) StopFast(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return nil
	}
	err := p.server.Stop(ctx)
	p.server = nil
	return err
}

// StopImmediate ends all its processes at once: the next start recovers from the log, as after a crash.
func (p *Postgres) StopImmediate(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return nil
	}
	_ = syscall.Kill(p.server.Pid(), syscall.SIGQUIT)
	select {
	case <-p.server.Done():
	case <-ctx.Done(): // Stop uses more force
	}
	err := p.server.Stop(ctx)
	p.server = nil
	return err
}

// PID is that of the postmaster, 0 while it does not run.
func (p *Postgres) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return 0
	}
	select {
	case <-p.server.Done():
		return 0
	default:
		return p.server.Pid()
	}
}

// URL is the administrator's, past the proxies.
func (p *Postgres) URL() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return ""
	}
	return p.server.URL()
}

func serviceURL(kind, address string) string {
	u := url.URL{Scheme: "postgres", Host: address, Path: "/starling", User: url.UserPassword(serviceRole(kind), servicePassword), RawQuery: "sslmode=disable"}
	return u.String()
}

// do runs f on a connection of the administrator.
func (p *Postgres) do(ctx context.Context, f func(*pgx.Conn) error) error {
	address := p.URL()
	if address == "" {
		return errors.New("PostgreSQL is stopped")
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	return errors.Join(f(conn), conn.Close(ctx))
}

const sqlTerminate = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE starts_with(usename, $1)`

// Terminate ends all connections of the services, in the middle of whatever they do.
func (p *Postgres) Terminate(ctx context.Context) error {
	return p.do(ctx, func(conn *pgx.Conn) error {
		var n int
		return conn.QueryRow(ctx, sqlTerminate, servicePrefix).Scan(&n)
	})
}

const greedyPause = 20 * time.Millisecond

// Exhaust ends the services' connections and takes all that there are, until ctx ends.
func (p *Postgres) Exhaust(ctx context.Context) error {
	config, err := pgx.ParseConfig(p.URL())
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	config.User, config.Password = serviceRole("chat"), servicePassword
	var conns []*pgx.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	terminated := false
	for ctx.Err() == nil {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			conns = append(conns, conn)
			continue
		}
		if !terminated { // all are taken; now those of the services as well
			if err := p.do(ctx, func(conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, sqlTerminateServices, servicePrefix)
				return err
			}); err != nil {
				return err
			}
			terminated = true
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(greedyPause):
		}
	}
	return nil
}

// Connections without a name are the rig's own.
const sqlTerminateServices = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE starts_with(usename, $1) AND application_name <> ''`

// Settings reads what a crash of the machine would depend on; kill -9 cannot show it, because the page cache survives.
func (p *Postgres) Settings(ctx context.Context) (list []history.Setting, err error) {
	err = p.do(ctx, func(conn *pgx.Conn) error {
		for _, name := range []string{"server_version", "fsync", "synchronous_commit", "full_page_writes"} {
			var value string
			if err := conn.QueryRow(ctx, "SHOW "+name).Scan(&value); err != nil {
				return fmt.Errorf("show %s: %w", name, err)
			}
			list = append(list, history.Setting{Name: name, Value: value})
		}
		return nil
	})
	return list, err
}
