package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/platform/run"
)

// ErrInUse means that another process runs a server on the data directory.
var ErrInUse = errors.New("data directory is in use by another process")

const (
	databaseName   = "starling"
	superuser      = "starling"
	maxConnections = 200

	startAttempts = 3
	startPause    = 300 * time.Millisecond
	readyPoll     = 25 * time.Millisecond
	readyTimeout  = time.Minute // crash recovery included
	fastTimeout   = 3 * time.Second
	quitTimeout   = 2 * time.Second
)

// Config says where and how the server runs.
type Config struct {
	DataDir  string       // created where missing; must be empty or from an earlier Start
	Port     int          // on 127.0.0.1; 0 picks a free one
	Socket   bool         // listen on a Unix socket instead of TCP
	Durable  bool         // false switches fsync off: for tests only
	Log      *slog.Logger // nil discards; PostgreSQL's own lines come at debug
	Progress func(string) // told what takes long, for the user; may be nil

	// Checksums has the pages of a new cluster checked, so that a disk that forgets is noticed.
	Checksums bool
}

// Server is a running PostgreSQL.
type Server struct {
	cfg       Config
	home      *home
	bin       string // directory of the binaries
	password  string
	socketDir string
	port      int
	unlock    func()

	cmd  *exec.Cmd
	tail *tail
	done chan struct{} // closed after err is written
	err  error

	stop sync.Once
}

// Start creates the cluster where there is none, starts the server and returns
// when it answers. It fails with ErrInUse while another process has the
// directory; a server left behind by a killed one is stopped first.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	s := &Server{cfg: cfg}
	if s.home, err = openHome(ctx, cfg.DataDir, cfg.Log); err != nil {
		return nil, err
	}
	if s.unlock, err = s.home.lock(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if s.bin, err = findBinaries(ctx, s.home, cfg.Progress); err != nil {
		return nil, err
	}
	if err := s.home.stopOrphan(ctx, cfg.Log); err != nil {
		return nil, err
	}
	if s.password, err = s.ensureCluster(ctx); err != nil {
		return nil, err
	}
	if cfg.Socket {
		if s.socketDir, err = s.home.socketDir(); err != nil {
			return nil, err
		}
	}
	cfg.Progress("starting PostgreSQL")
	if err := s.startUntilReady(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// startUntilReady repeats a failed start: the picked port may have been taken,
// or backends of a killed server may still be leaving.
func (s *Server) startUntilReady(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		err := s.launch(ctx)
		if err == nil {
			if err = s.waitReady(ctx); err == nil {
				return nil
			}
			s.terminate(ctx)
		}
		if attempt == startAttempts || !run.Pause(ctx, startPause) {
			return fmt.Errorf("start PostgreSQL in %s: %w", s.home.dir, err)
		}
	}
}

// launch starts the child. The thread that does so is kept until the child has
// ended, because the kernel watches that thread, not the process, to tell the
// child that its parent died.
func (s *Server) launch(ctx context.Context) error {
	s.port = s.cfg.Port
	if s.port == 0 {
		s.port = 5432 // names only the socket's file
		if !s.cfg.Socket {
			var err error
			if s.port, err = freePort(ctx); err != nil {
				return err
			}
		}
	}
	s.tail = &tail{ctx: context.WithoutCancel(ctx), log: s.cfg.Log}
	s.cmd = s.home.command(context.WithoutCancel(ctx), filepath.Join(s.bin, "postgres"), s.arguments()...)
	s.cmd.Stdout, s.cmd.Stderr = s.tail, s.tail
	s.cmd.WaitDelay = time.Second
	s.done = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.err = s.cmd.Wait()
			close(s.done)
		}
	}()
	return <-started
}

func (s *Server) arguments() []string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"max_connections":         strconv.Itoa(maxConnections),
		"log_min_messages":        "log", // no ERROR: those carry rows and belong to the caller
	}
	if s.cfg.Socket {
		settings["listen_addresses"] = ""
		settings["unix_socket_directories"] = s.socketDir
		settings["unix_socket_permissions"] = "0700"
	}
	if !s.cfg.Durable {
		settings["fsync"], settings["synchronous_commit"], settings["full_page_writes"] = "off", "off", "off"
	}
	args := []string{"-D", s.home.data(), "-p", strconv.Itoa(s.port)}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	return args
}

// waitReady returns when the server answers and the database exists.
func (s *Server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.urlOf("postgres"))
		if err == nil {
			err = createDatabase(ctx, conn)
			return errors.Join(err, conn.Close(ctx))
		}
		select {
		case <-s.done:
			return fmt.Errorf("server ended (%w): %s", s.err, s.tail)
		case <-ctx.Done():
			return fmt.Errorf("server does not answer: %w: %s", err, s.tail)
		case <-time.After(readyPoll):
		}
	}
}

const (
	sqlDatabaseExists = `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`
	sqlCreateDatabase = `CREATE DATABASE ` + databaseName
)

func createDatabase(ctx context.Context, conn *pgx.Conn) error {
	var exists bool
	if err := conn.QueryRow(ctx, sqlDatabaseExists, databaseName).Scan(&exists); err != nil {
		return fmt.Errorf("look for the database: %w", err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, sqlCreateDatabase); err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	return nil
}

// URL returns the address of the database starling for its owner, a superuser,
// with the password.
func (s *Server) URL() string { return s.urlOf(databaseName) }

func (s *Server) urlOf(database string) string {
	u := url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: "sslmode=disable"}
	u.User = url.UserPassword(superuser, s.password)
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	if s.cfg.Socket {
		u.Host = ""
		u.RawQuery = url.Values{"sslmode": {"disable"}, "host": {s.socketDir}, "port": {strconv.Itoa(s.port)}}.Encode()
	}
	return u.String()
}

// Dir returns where the files really are: DataDir, unless the package comment's exception applies.
func (s *Server) Dir() string { return s.home.dir }

// Pid returns the process id of the postmaster.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Done is closed when the server has ended, by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Run blocks until ctx ends and then stops the server; it fails when the server
// ends by itself.
func (s *Server) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return s.Stop(context.WithoutCancel(ctx))
	case <-s.done:
		s.release()
		return fmt.Errorf("PostgreSQL ended by itself (%w): %s", s.err, s.tail)
	}
}

// Stop shuts the server down: open transactions are rolled back, and after 3 s,
// or when ctx ends, the processes are told to quit at once, which loses nothing
// that was committed. Further calls do nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		s.terminate(ctx)
		s.release()
	})
	return nil
}

// terminate awaits the end of the child, asking ever less politely.
func (s *Server) terminate(ctx context.Context) {
	signalProcess(s.cmd.Process, syscall.SIGINT) // fast shutdown
	select {
	case <-s.done:
		return
	case <-ctx.Done():
	case <-time.After(fastTimeout):
	}
	signalProcess(s.cmd.Process, syscall.SIGQUIT) // immediate shutdown
	select {
	case <-s.done:
		return
	case <-time.After(quitTimeout):
	}
	signalProcess(s.cmd.Process, syscall.SIGKILL)
	<-s.done
}

func (s *Server) release() {
	if s.socketDir != "" {
		_ = os.RemoveAll(s.socketDir)
	}
	s.unlock()
}

// signalProcess ignores the error of a process that has ended.
func signalProcess(p *os.Process, sig syscall.Signal) { _ = p.Signal(sig) }

func freePort(ctx context.Context) (int, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("pick a port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}
