package pgtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgserver"
	"github.com/starling-chat/starling/platform/settings"
)

// New returns the configuration of a new database in which schema was migrated
// by fsys; a nil fsys leaves the database empty. It is dropped when t ends.
func New(t testing.TB, fsys fs.FS, schema string) pg.Config {
	t.Helper()
	ctx := t.Context()
	server := process().start(t)
	template := "template1"
	if fsys != nil {
		var err error
		if template, err = process().template(ctx, fsys, schema); err != nil {
			t.Fatalf("make template: %v", err)
		}
	}
	return server.create(t, "TEMPLATE "+template, schema)
}

// create makes a database for t.
func (s *shared) create(t testing.TB, options, schema string) pg.Config {
	t.Helper()
	ctx := t.Context()
	name := "test_" + strconv.FormatInt(s.next(), 10)
	if err := s.exec(ctx, "CREATE DATABASE "+name+" "+options); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return s.config(name, schema)
}

// NewEncoded is New for an empty database that keeps its texts in encoding.
func NewEncoded(t testing.TB, encoding, schema string) pg.Config {
	t.Helper()
	return process().start(t).create(t, "TEMPLATE template0 LOCALE 'C' ENCODING '"+encoding+"'", schema)
}

// Pool is New and an open pool on it, closed when t ends.
func Pool(t testing.TB, fsys fs.FS, schema string) *pgxpool.Pool {
	t.Helper()
	pool, err := pg.Open(t.Context(), New(t, fsys, schema))
	if err != nil {
		t.Fatalf("open pool: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// shared is the one server of this process and its templates.
type shared struct {
	mu        sync.Mutex
	server    *pgserver.Server
	startErr  error
	templates map[string]bool // made or found by this process
	databases int64           // names given out
}

// process returns the process's shared server.
var process = sync.OnceValue(func() *shared { return &shared{templates: map[string]bool{}} }) //nolint:gochecknoglobals // tests have no main

const (
	maxSlots     = 64
	startTimeout = 2 * time.Minute
	hanging      = time.Minute // of a statement, or between two of a transaction
)

// start returns the server, starting it the first time.
func (s *shared) start(t testing.TB) *shared {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil && s.startErr == nil {
		// The server outlives the test that starts it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), startTimeout)
		defer cancel()
		if s.server, s.startErr = startInSlot(ctx); s.startErr == nil {
			s.startErr = s.dropLeftovers(ctx)
		}
	}
	if s.startErr != nil {
		t.Fatalf("start PostgreSQL: %v", s.startErr)
	}
	return s
}

// startInSlot starts a server in the first directory that no other process has.
func startInSlot(ctx context.Context) (*pgserver.Server, error) {
	root := filepath.Join(os.TempDir(), "starling-pgtest-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(root, 0o711); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // the server's user passes
		return nil, err
	}
	info, err := os.Lstat(root)
	if err != nil {
		return nil, err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(owner.Uid) != os.Getuid() {
		return nil, fmt.Errorf("%s belongs to somebody else", root)
	}
	for n := range maxSlots {
		dir := filepath.Join(root, strconv.Itoa(n))
		server, err := pgserver.Start(ctx, pgserver.Config{DataDir: dir})
		if errors.Is(err, pgserver.ErrInUse) {
			continue
		}
		if err != nil && ctx.Err() == nil {
			// Without fsync a crash of the machine may have broken the cluster.
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
			server, err = pgserver.Start(ctx, pgserver.Config{DataDir: dir})
		}
		return server, err
	}
	return nil, errors.New("all directories are in use")
}

// sqlLeftovers lists what killed runs left, and all but the newest templates.
const sqlLeftovers = `
	SELECT datname FROM pg_database WHERE datname LIKE 'test\_%' OR datname LIKE 'making\_%'
	UNION ALL
	(SELECT datname FROM pg_database WHERE datname LIKE 'template\_%' ORDER BY oid DESC OFFSET 8)`

// dropLeftovers drops what a killed run did not, and old templates.
func (s *shared) dropLeftovers(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.server.URL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, sqlLeftovers)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			return err
		}
	}
	return nil
}

// template returns the database that fsys migrated, making it where it is
// missing. Its name is a hash of the migrations and it gets that name only when
// it is complete.
func (s *shared) template(ctx context.Context, fsys fs.FS, schema string) (string, error) {
	sum, err := hash(fsys, schema)
	if err != nil {
		return "", err
	}
	name := "template_" + sum
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.templates[name] {
		return name, nil
	}
	var exists bool
	if err := s.query(ctx, &exists, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name); err != nil {
		return "", err
	}
	if !exists {
		making := "making_" + sum
		if err := s.exec(ctx, "CREATE DATABASE "+making); err != nil {
			return "", err
		}
		if err := pg.Migrate(ctx, s.config(making, schema), fsys, slog.New(slog.DiscardHandler)); err != nil {
			return "", errors.Join(err, s.exec(ctx, "DROP DATABASE "+making+" WITH (FORCE)"))
		}
		if err := s.exec(ctx, "ALTER DATABASE "+making+" RENAME TO "+name); err != nil {
			return "", err
		}
	}
	s.templates[name] = true
	return name, nil
}

func hash(fsys fs.FS, schema string) (string, error) {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s\n", schema) // a hash takes everything
	err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(fsys, path)
		_, _ = fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), err
}

func (s *shared) next() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.databases++
	return s.databases
}

func (s *shared) config(database, schema string) pg.Config {
	u, err := url.Parse(s.server.URL())
	if err != nil {
		panic(err) // made by pgserver
	}
	u.Path = "/" + database
	return pg.Config{
		URL: settings.URL(u.String()), Schema: schema, AppName: "pgtest", MaxConns: 8,
		// A starved machine takes longer than what holds in service; who tests these sets them.
		StatementTimeout: hanging, IdleTxTimeout: hanging,
	}
}

func (s *shared) exec(ctx context.Context, sql string) error {
	return s.connected(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		return err
	})
}

func (s *shared) query(ctx context.Context, dst any, sql string, args ...any) error {
	return s.connected(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, sql, args...).Scan(dst) })
}

func (s *shared) connected(ctx context.Context, f func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, s.server.URL())
	if err != nil {
		return err
	}
	return errors.Join(f(conn), conn.Close(ctx))
}
