package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/test/internal/launch"
)

// PoolerName is that of the process of PgBouncer.
const PoolerName = "pooler-0"

// poolerConf has PgBouncer work as docs/operations/install.md asks of a pooler: it pools sessions, and schemas come from the roles. In
// default_pool_size are both copies of a service, DB_MAX_CONNS each.
const poolerConf = `[databases]
starling = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = plain
auth_file = %s
pool_mode = session
ignore_startup_parameters = search_path
default_pool_size = 60
max_client_conn = 500
server_login_retry = 1
query_wait_timeout = 5
`

// startPooler runs PgBouncer between the services and PostgreSQL.
func (c *Cluster) startPooler(ctx context.Context) error {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		return fmt.Errorf("-pooler needs PgBouncer (Debian: apt-get install pgbouncer): %w", err)
	}
	if c.database, err = c.ports.Take(); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(c.database)
	if err != nil {
		return fmt.Errorf("read the pooler's address: %w", err)
	}
	// PgBouncer refuses to run as root, and who it runs as has no way into the run's folder.
	dir, err := os.MkdirTemp("", "starling-pooler-")
	if err != nil {
		return fmt.Errorf("make the pooler's folder: %w", err)
	}
	c.folders = append(c.folders, dir)
	conf, users := filepath.Join(dir, "pgbouncer.ini"), filepath.Join(dir, "users.txt")
	var list strings.Builder
	for _, kind := range databaseKinds() {
		_, _ = fmt.Fprintf(&list, "%q %q\n", serviceRole(kind), servicePassword)
	}
	for path, content := range map[string]string{conf: fmt.Sprintf(poolerConf, c.Postgres.cfg.Port, port, users), users: list.String()} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil { //nolint:gosec // another user reads it; the passwords are the rig's
			return fmt.Errorf("write the pooler's files: %w", err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // another user reads it
		return fmt.Errorf("open the pooler's folder: %w", err)
	}
	args := []string{conf}
	if os.Getuid() == 0 {
		args = []string{"-u", "nobody", conf}
	}
	c.pooler = launch.NewProcess(launch.Spec{Name: PoolerName, Path: program, Args: args, LogFile: c.log(PoolerName), AnyExit: true})
	if err := c.pooler.Start(); err != nil {
		return err
	}
	if err := launch.Await(ctx, launch.Poll, func(ctx context.Context) error { return launch.Listening(ctx, c.database) }, c.pooler); err != nil {
		return fmt.Errorf("wait for PgBouncer: %w", err)
	}
	return nil
}

// databaseKinds are the services that have a database.
func databaseKinds() []string { return Kinds()[1:] }

// makeRoles makes the services' roles, each with its schema.
func (p *Postgres) makeRoles(ctx context.Context) error {
	err := p.do(ctx, func(conn *pgx.Conn) error {
		for _, kind := range databaseKinds() {
			role := serviceRole(kind)
			if _, err := conn.Exec(ctx, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s'; ALTER ROLE %[1]s SET search_path = %[3]s; GRANT ALL ON DATABASE starling TO %[1]s`,
				role, servicePassword, kind)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make the services' roles: %w", err)
	}
	return nil
}
