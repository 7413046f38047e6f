package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgserver"
	"github.com/starling-chat/starling/platform/settings"
)

// Pair is two PostgreSQL servers behind one address, as an operator's balancer, virtual address or DNS name has them. Neither
// copies the other: what was written before a failover is missing after it.
type Pair struct {
	listener net.Listener
	servers  [2]*pgserver.Server

	mu      sync.Mutex // guards what follows
	primary int
	open    []net.Conn
}

// The role that both servers know, and its database.
const (
	pairRole     = "pair"
	pairPassword = "pair-password"
)

// NewPair starts two servers, of which the first is the primary; they stop when t ends. Both databases are empty.
func NewPair(t testing.TB) *Pair {
	t.Helper()
	p := &Pair{}
	p.startServers(t)
	for i := range p.servers {
		p.exec(t, i, fmt.Sprintf("CREATE ROLE %s LOGIN SUPERUSER PASSWORD '%s'", pairRole, pairPassword))
		p.exec(t, i, "CREATE DATABASE "+pairRole+" OWNER "+pairRole)
	}
	var err error
	if p.listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var addresses [2]string
	for i := range addresses {
		addresses[i] = p.address(t, i)
	}
	var carriers sync.WaitGroup
	ctx := context.WithoutCancel(t.Context())
	carriers.Go(func() { p.accept(ctx, addresses, &carriers) })
	t.Cleanup(func() {
		_ = p.listener.Close()
		p.mu.Lock()
		for _, conn := range p.open {
			_ = conn.Close()
		}
		p.mu.Unlock()
		carriers.Wait()
	})
	return p
}

// startServers starts both at once: most of it is waiting.
func (p *Pair) startServers(t testing.TB) {
	t.Helper()
	var errs [2]error
	var starting sync.WaitGroup
	for i := range p.servers {
		dir := t.TempDir()
		starting.Go(func() { p.servers[i], errs[i] = pgserver.Start(t.Context(), pgserver.Config{DataDir: dir}) })
	}
	starting.Wait()
	for _, server := range p.servers {
		if server != nil {
			t.Cleanup(func() { _ = server.Stop(context.WithoutCancel(t.Context())) })
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatalf("start two servers: %v", err)
	}
}

// Reset brings back what NewPair gave: the first server is the primary, and both databases are empty. A pair takes seconds to start.
func (p *Pair) Reset(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	p.primary = 0
	p.mu.Unlock()
	for i := range p.servers {
		p.readOnly(t, i, "off")
		p.exec(t, i, "DROP DATABASE "+pairRole+" WITH (FORCE)")
		p.exec(t, i, "CREATE DATABASE "+pairRole+" OWNER "+pairRole)
	}
}

// Config returns the address of both, for a service with the given schema.
func (p *Pair) Config(schema string) pg.Config {
	url := fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", pairRole, pairPassword, p.listener.Addr(), pairRole)
	return pg.Config{URL: settings.URL(url), Schema: schema, AppName: "pgtest", MaxConns: 8}
}

// Direct returns the addresses of both as a list, the server that is not the primary first.
func (p *Pair) Direct(t testing.TB, schema string) pg.Config {
	t.Helper()
	cfg := p.Config(schema)
	var hosts []string
	for _, i := range []int{1 - p.now(), p.now()} {
		hosts = append(hosts, p.address(t, i))
	}
	cfg.URL = settings.URL(strings.Replace(cfg.URL.Reveal(), p.listener.Addr().String(), strings.Join(hosts, ","), 1))
	return cfg
}

// FailOver makes the other server the primary. Connections to the former one stay alive, and that one takes no more writes.
func (p *Pair) FailOver(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	former := p.primary
	p.primary = 1 - former
	p.mu.Unlock()
	p.readOnly(t, former, "on")
}

// Demote leaves the pair without a primary: the one that is takes no more writes. Promote ends that.
func (p *Pair) Demote(t testing.TB) {
	t.Helper()
	p.readOnly(t, p.now(), "on")
}

// Promote ends a Demote.
func (p *Pair) Promote(t testing.TB) {
	t.Helper()
	p.readOnly(t, p.now(), "off")
}

func (p *Pair) readOnly(t testing.TB, server int, value string) {
	t.Helper()
	p.exec(t, server, "ALTER SYSTEM SET default_transaction_read_only = "+value)
	p.exec(t, server, "SELECT pg_reload_conf()")
	// The server takes a moment to tell its backends; a new one tells that it did.
	for p.ask(t, server, "SHOW default_transaction_read_only") != value {
		continue
	}
}

// Ask asks the present primary for one value, past the pair's address.
func (p *Pair) Ask(t testing.TB, sql string) string {
	t.Helper()
	return p.ask(t, p.now(), sql)
}

// Write writes on the present primary, past the pair's address.
func (p *Pair) Write(t testing.TB, sql string) {
	t.Helper()
	p.ask(t, p.now(), sql+" RETURNING 'done'")
}

func (p *Pair) now() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.primary
}

func (p *Pair) address(t testing.TB, server int) string {
	t.Helper()
	config := p.config(t, server)
	return net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
}

func (p *Pair) exec(t testing.TB, server int, sql string) {
	t.Helper()
	conn := p.connect(t, server, "")
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (p *Pair) ask(t testing.TB, server int, sql string) (value string) {
	t.Helper()
	conn := p.connect(t, server, pairRole)
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// connect connects as the superuser, to the database given, or to the server's own.
func (p *Pair) connect(t testing.TB, server int, database string) *pgx.Conn {
	t.Helper()
	config := p.config(t, server)
	config.Database = cmp.Or(database, config.Database)
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("connect to server %d: %v", server, err)
	}
	return conn
}

func (p *Pair) config(t testing.TB, server int) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(p.servers[server].URL())
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// accept carries each connection to the server that is the primary when it comes, until the listener is closed.
func (p *Pair) accept(ctx context.Context, addresses [2]string, carriers *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		address := addresses[p.primary]
		p.mu.Unlock()
		server, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.open = append(p.open, client, server)
		p.mu.Unlock()
		for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
			carriers.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				_, _ = way[0].Close(), way[1].Close()
			})
		}
	}
}
