package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/internal/launch"
)

// Config says what to run.
type Config struct {
	Root     string // of the repository
	Dir      string // of the run; see NewDir
	Programs string // folder, see Build
	Nodes    int    // of NATS, 1 or 3
	Copies   int    // of each service, and gateways
	Sabotage string // STARLING_SABOTAGE of the services
	Disks    bool   // PostgreSQL and nats-0 on small file systems of their own, where this may mount
	Pooler   bool   // PgBouncer between the services and PostgreSQL
	Log      *slog.Logger
}

// Secrets that the services and the rig share.
const (
	JWTSecret = "chaos-jwt-secret-of-32-bytes-or-more"
	APIKey    = "chaos-api-key-of-32-bytes-or-more" //nolint:gosec // of a system that lives for a minute
	// Who calls the services, as SERVICE_TOKENS names them.
	gatewayToken  = "chaos-token-of-gateways"
	presenceToken = "chaos-token-of-presence-service"
)

// Cluster is the running system. Start builds it; after that only Stop changes its fields.
type Cluster struct {
	cfg   Config
	ports *launch.Ports

	Links    *Links
	Postgres *Postgres
	NATS     []*natsNode
	services []*service
	Notes    []string // what could not be set up, for the reader of the report

	database string          // the address where the services find it
	pooler   *launch.Process // nil: none

	mounts  []*Disk
	folders []string // outside Config.Dir
}

// service is one process of Starling.
type service struct {
	*launch.Process
	kind                string // gateway, auth, chat, presence
	client, grpc, admin string // addresses
}

// Kinds are the services, in the order in which pairs are formed.
func Kinds() []string { return []string{"gateway", "chat", "presence", "auth"} }

// Sizes of the file systems that are filled: more than a run of half an hour writes.
const (
	postgresDisk = 4 << 30
	natsDisk     = 2 << 30
)

const (
	startTimeout = 5 * time.Minute
	stopTimeout  = 6 * time.Second
)

// Start runs everything and returns when all of it is ready. After an error it has stopped what it started.
func Start(ctx context.Context, cfg Config) (_ *Cluster, err error) {
	c := &Cluster{cfg: cfg, ports: launch.NewPorts()}
	c.Links = newLinks(c.ports)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if err := os.MkdirAll(c.LogDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the logs: %w", err)
	}
	if err := c.startNATS(ctx); err != nil {
		return nil, err
	}
	if err := c.startDatabase(ctx); err != nil {
		return nil, err
	}
	if cfg.Pooler {
		if err := c.startPooler(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.startServices(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// LogDir holds the logs of all processes.
func (c *Cluster) LogDir() string { return filepath.Join(c.cfg.Dir, "logs") }

// disk mounts a file system for one store, or says in Notes why there is none.
func (c *Cluster) disk(name string, size int64) *Disk {
	if !c.cfg.Disks {
		return nil
	}
	disk, err := mountDisk(filepath.Join(c.cfg.Dir, name), size)
	if err != nil {
		c.Notes = append(c.Notes, "disks are not filled: "+err.Error())
		return nil
	}
	c.mounts = append(c.mounts, disk)
	return disk
}

func (c *Cluster) startNATS(ctx context.Context) error {
	for i := range c.cfg.Nodes {
		name := fmt.Sprintf("nats-%d", i)
		node := &natsNode{store: filepath.Join(c.cfg.Dir, name), conf: filepath.Join(c.cfg.Dir, name+".conf")}
		if err := os.MkdirAll(node.store, 0o700); err != nil {
			return fmt.Errorf("make the store of %s: %w", name, err)
		}
		if i == 0 {
			node.Disk = c.disk(name, natsDisk)
		}
		for _, address := range []*string{&node.client, &node.monitor, &node.route} {
			free, err := c.ports.Take()
			if err != nil {
				return err
			}
			*address = free
		}
		node.Process = launch.NewProcess(launch.Spec{
			Name: name, Path: filepath.Join(c.cfg.Programs, "nats-server"), LogFile: c.log(name),
			Args: []string{"-c", node.conf}, Env: natsPasswords(), AnyExit: true, // a NATS server says 1 after SIGTERM
		})
		c.NATS = append(c.NATS, node)
	}
	deployed := filepath.Join(c.cfg.Root, "deploy", "nats", "nats.conf")
	for _, node := range c.NATS {
		if err := node.writeConf(deployed, c.NATS); err != nil {
			return err
		}
		if err := node.Start(); err != nil {
			return err
		}
	}
	for _, node := range c.NATS {
		if err := launch.Await(ctx, launch.Poll, node.healthy, node.Process); err != nil {
			return fmt.Errorf("wait for %s: %w", node.Name, err)
		}
	}
	return nil
}

func (c *Cluster) startDatabase(ctx context.Context) error {
	port, err := c.ports.TakeRow(1)
	if err != nil {
		return err
	}
	c.database = launch.Loopback(port).String()
	dir, disk := filepath.Join(c.cfg.Dir, "postgres"), c.disk("database", postgresDisk)
	if disk != nil {
		dir = filepath.Join(disk.dir, "postgres")
	}
	log, err := os.OpenFile(c.log("postgres"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open PostgreSQL's log: %w", err)
	}
	c.Postgres, err = startPostgres(ctx, dir, port, disk, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	return err
}

func (c *Cluster) log(name string) string { return filepath.Join(c.LogDir(), name+".log") }

// startServices gives each service an address, makes the links of each, and starts it with the addresses of its own proxies.
func (c *Cluster) startServices(ctx context.Context) error {
	for _, kind := range Kinds() {
		for i := range c.cfg.Copies {
			s := &service{kind: kind, Process: launch.NewProcess(launch.Spec{Name: fmt.Sprintf("%s-%d", kind, i)})}
			for _, address := range []*string{&s.client, &s.grpc, &s.admin} {
				free, err := c.ports.Take()
				if err != nil {
					return err
				}
				*address = free
			}
			c.services = append(c.services, s)
		}
	}
	for _, s := range c.services {
		env, err := c.environment(s)
		if err != nil {
			return err
		}
		program := s.kind
		if s.kind != "gateway" {
			program += "-service"
		}
		s.Path, s.LogFile, s.Env = filepath.Join(c.cfg.Programs, program), c.log(s.Name), env
		if err := s.Start(); err != nil {
			return err
		}
	}
	if err := launch.Await(ctx, launch.Poll, c.allReady, c.processes()...); err != nil {
		return fmt.Errorf("wait until all are ready: %w", err)
	}
	return nil
}

// Accepts tells whether a gateway accepts connections. It asks past the proxies, which accept connections at any time.
func (c *Cluster) Accepts(gateway int) bool {
	dialer := net.Dialer{Timeout: acceptTimeout}
	conn, err := dialer.Dial("tcp", c.gateways()[gateway].client)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

const acceptTimeout = 200 * time.Millisecond

func (c *Cluster) gateways() (all []*service) {
	for _, s := range c.services {
		if s.kind == "gateway" {
			all = append(all, s)
		}
	}
	return all
}

// Gateways are the addresses that clients dial, which are those of proxies.
func (c *Cluster) Gateways() (addresses []string, err error) {
	for _, s := range c.gateways() {
		address, err := c.Links.add("clients", s.Name, s.client)
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

// Direct are the gateways' own addresses, past the proxies.
func (c *Cluster) Direct() (addresses []string) {
	for _, s := range c.gateways() {
		addresses = append(addresses, s.client)
	}
	return addresses
}

// GatewayURL is the address, past the proxies, of a gateway that lives.
func (c *Cluster) GatewayURL(ctx context.Context) string {
	for _, s := range c.services {
		if s.kind == "gateway" && s.PID() != 0 && launch.Listening(ctx, s.client) == nil {
			return "http://" + s.client
		}
	}
	return ""
}

// Process finds a process by its name. It gives nil for PostgreSQL, which package pgserver runs.
func (c *Cluster) Process(name string) *launch.Process {
	for _, p := range c.processes() {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (c *Cluster) processes() (all []*launch.Process) {
	for _, n := range c.NATS {
		all = append(all, n.Process)
	}
	if c.pooler != nil {
		all = append(all, c.pooler)
	}
	for _, s := range c.services {
		all = append(all, s.Process)
	}
	return all
}

// Crashed lists the processes that ended though nobody asked them to.
func (c *Cluster) Crashed() (names []string) {
	for _, p := range c.processes() {
		if p.Ended() != nil {
			names = append(names, p.Name)
		}
	}
	return names
}

// Stop ends everything in the reverse order of dependence and removes the mounts. The folder stays.
func (c *Cluster) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*stopTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, p := range slices.Backward(c.processes()) {
		all.Go(func() {
			_ = p.Resume()
			p.Kill() // what they leave behind is looked at before; nothing is worth waiting for now
		})
	}
	all.Wait()
	err := c.Links.stop(ctx)
	if c.Postgres != nil {
		err = errors.Join(err, c.Postgres.StopImmediate(ctx))
	}
	for _, disk := range c.mounts {
		err = errors.Join(err, disk.unmount())
	}
	for _, dir := range c.folders {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	c.mounts, c.folders = nil, nil
	return err
}
