package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/starling-chat/starling/gateway"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
)

// ServeConfig holds the settings of `starling serve`: the same system as that of Config, for others to rely on. Those of the services are
// read from their environment variables as well.
type ServeConfig struct {
	run.Common
	Listen        string          `name:"listen" env:"LISTEN" default:"127.0.0.1:3000" help:"Address for clients, host:port. One that others reach needs HTTPS (TLS_CERT or ACME_DOMAINS), or INSECURE."`
	TLS           gateway.TLS     `embed:""`
	Insecure      bool            `name:"insecure" env:"INSECURE" help:"Answer others in plain text, passwords included: where LISTEN is reached by a proxy with TLS alone."`
	Data          string          `name:"data" env:"STARLING_DATA,STATE_DIRECTORY" help:"Folder that keeps the data and the secrets; needed. systemd names one as STATE_DIRECTORY."`
	Admin         string          `name:"admin" env:"ADMIN" help:"Address of the gateway's health and metrics, host:port, on this machine or in a private network; auth-, chat- and presence-service have the next three ports. Empty turns them off."`
	Profiles      bool            `name:"pprof" env:"PPROF" help:"Serve profiles (/debug/pprof/) at that address, too."`
	DatabaseURL   settings.URL    `name:"database-url" env:"DATABASE_URL" help:"Use this PostgreSQL instead of one of its own, a URL."`
	NATSURL       settings.URL    `name:"nats-url" env:"NATS_URL" help:"Use this NATS instead of one inside, a URL; it needs JetStream."`
	AdminUsername string          `name:"admin-username" env:"ADMIN_USERNAME" default:"admin" help:"Name of the admin who is made at the first start."`
	AdminPassword settings.Secret `name:"admin-password" env:"ADMIN_PASSWORD" help:"Password of that admin; empty makes one up at the first start, which is printed once on standard output."`
}

// Validate tells what is wrong with the settings, one fault a line. What others could reach without being asked who they are, or read on
// the way, is refused.
func (c *ServeConfig) Validate() error {
	var faults settings.Faults
	faults.If(c.Data == "", "STARLING_DATA must name the folder that keeps the data and the secrets")
	if err := settings.CheckAddress(c.Listen); err != nil {
		faults.In("LISTEN", err)
	} else {
		faults.If(port(c.Listen) == 0, "LISTEN: %q needs a port from 1 to 65535", c.Listen)
		faults.If(!onlyThisMachine(c.Listen) && !c.TLS.On() && !c.Insecure,
			"LISTEN: others reach %s, and passwords would travel in plain text: give TLS_CERT or ACME_DOMAINS, or listen on 127.0.0.1 behind a proxy with TLS, or say INSECURE=true where nobody but such a proxy reaches it", c.Listen)
	}
	if c.Admin != "" {
		if err := settings.CheckAddress(c.Admin); err != nil {
			faults.In("ADMIN", err)
		} else {
			faults.If(!private(c.Admin), "ADMIN: nobody is asked who they are at %s: it must be an address of this machine, or of a private network", c.Admin)
			faults.If(port(c.Admin) == 0 || port(c.Admin) > 65535-len(serviceNames()), "ADMIN: three ports after that of %s are needed, too", c.Admin)
		}
	}
	faults.In("DATABASE_URL", c.DatabaseURL.Check())
	faults.In("NATS_URL", c.NATSURL.Check())
	faults.If(c.AdminUsername == "", "ADMIN_USERNAME must not be empty")
	return faults.Err()
}

func port(address string) int {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return n
}

// private tells whether an address names this machine, or one place in a private network.
func private(address string) bool {
	if onlyThisMachine(address) {
		return true
	}
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsPrivate() || ip.IsLinkLocalUnicast())
}

// Faults tells what is wrong with the settings of the services and gateways.
func (c *ServeConfig) Faults() []string {
	s := c.system(nil)
	s.serving.keySecret = randomHex()
	told := settings.Check("starling serve", new(ServeConfig), nil)
	if err := c.TLS.Validate(); err != nil {
		told = append(told, strings.Split(err.Error(), "\n")...)
	}
	return s.faults(told)
}

// system is the one that these settings ask for.
func (c *ServeConfig) system(out io.Writer) *system {
	return &system{
		cfg: Config{
			Common: c.Common, Listen: c.Listen, Data: c.Data, Gateways: 1, Admin: c.Admin, Profiles: c.Profiles,
			DatabaseURL: c.DatabaseURL, NATSURL: c.NATSURL,
		},
		serving: &serving{cfg: c}, out: out, token: randomHex(), began: time.Now(),
	}
}

// serving is what a system has that serves others; that of `make run` has none of it.
type serving struct {
	cfg       *ServeConfig
	log       *slog.Logger
	plain     net.Listener // for plain HTTP beside HTTPS; nil: none
	keySecret string       // KEY_ENCRYPTION_SECRET

	admin         string // who was made at the first start; "": this is the first one, or none before was ready
	adminPassword string // of the admin who is to be made; "": nobody is
	madeUp        bool   // it was made up, and is to be printed
}

// serve runs the system for others until ctx ends.
func serve(ctx context.Context, cfg ServeConfig, log *slog.Logger, out io.Writer) error {
	var err error
	if cfg.Data, err = folder(cfg.Data); err != nil {
		return err
	}
	s := cfg.system(out)
	defer s.closeListeners()
	if err := s.refuseDemo(); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if err := makeFolder(cfg.Data); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(cfg.Data, secretsFolder), 0o700); err != nil {
		return &settings.Wrong{Setting: "STARLING_DATA", Err: err}
	}
	s.serving.log = log
	services, err := obs.NewLogger(os.Stderr, cfg.LogLevel, cfg.LogFormat)
	if err != nil {
		return err
	}
	return s.run(ctx, services)
}

// makeFolder makes the data folder. PostgreSQL does not run as root: its user has to pass the folder of root, in which it reads nothing but
// its own.
func makeFolder(data string) error {
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.MkdirAll(data, mode); err != nil {
		return &settings.Wrong{Setting: "STARLING_DATA", Err: err}
	}
	return nil
}

// Files of a data folder that serves others. Each secret is in a file of its own, as services of a split deployment read it (X_FILE).
const (
	secretsFolder     = "secrets"
	serviceTokenFile  = secretsFolder + "/service-token"
	keySecretFile     = secretsFolder + "/key-encryption-secret"
	adminPasswordFile = secretsFolder + "/admin-password" // until it was printed
	adminFile         = secretsFolder + "/admin"          // the name of the admin who was made
)

// refuseDemo: accounts whose passwords are in the documentation are not opened to others.
func (s *system) refuseDemo() error {
	_, demo := os.Stat(filepath.Join(s.cfg.Data, postgresPlace))
	_, served := os.Stat(filepath.Join(s.cfg.Data, secretsFolder))
	if demo == nil && served != nil {
		return &settings.Wrong{Setting: "STARLING_DATA", Err: fmt.Errorf(
			"%s was made for trying things out: it has accounts whose passwords everybody knows; take another folder", s.cfg.Data)}
	}
	return nil
}

// refuseServed: the data of others get no demo accounts, and are not cleaned away.
func refuseServed(data string) error {
	if _, err := os.Stat(filepath.Join(data, secretsFolder)); err == nil {
		return &settings.Wrong{Setting: "STARLING_DATA", Err: fmt.Errorf("%s belongs to `starling serve`; take another folder for trying things out", data)}
	}
	return nil
}

// readServing reads what the data folder keeps, or makes it up; writeSecrets keeps it.
func (s *system) readServing(ctx context.Context) error {
	v := s.serving
	var err error
	if v.admin, err = s.kept(adminFile); err != nil {
		return err
	}
	if s.token, err = s.secret(serviceTokenFile, true); err != nil {
		return err
	}
	if v.keySecret, err = settings.Env("KEY_ENCRYPTION_SECRET"); err != nil {
		return err
	}
	if v.keySecret == "" {
		// Later a new one would make everything that was encrypted by the lost one useless, and nobody would learn why.
		if v.keySecret, err = s.secret(keySecretFile, v.admin == ""); err != nil {
			return err
		}
	}
	if err := s.readAdmin(); err != nil {
		return err
	}
	if address := v.cfg.TLS.Plain; address != "" {
		if v.plain, err = settings.Listen(ctx, "HTTP_LISTEN", address); err != nil {
			return err
		}
	}
	return nil
}

// secret is what a file of the data folder keeps; where it is not there, one is made up if it may be.
func (s *system) secret(file string, mayBeMade bool) (string, error) {
	secret, err := s.kept(file)
	switch {
	case err != nil || secret != "":
		return secret, err
	case !mayBeMade:
		return "", &settings.Wrong{Setting: "KEY_ENCRYPTION_SECRET", Err: fmt.Errorf(
			"%s is missing, by which the keys in the database were encrypted: bring it back from a backup, or give the setting", filepath.Join(s.cfg.Data, file))}
	}
	secret = randomHex()
	s.made = append(s.made, secretFile{file, secret + "\n"})
	return secret, nil
}

// readAdmin finds out whether an admin is to be made: at the first start, until that was ready, or because the settings say who.
func (s *system) readAdmin() error {
	v := s.serving
	if v.adminPassword = v.cfg.AdminPassword.Reveal(); v.adminPassword != "" || v.admin != "" {
		return nil
	}
	v.madeUp = true
	var err error
	v.adminPassword, err = s.secret(adminPasswordFile, true)
	return err
}

// adminMade notes that the admin is there, and prints the password if nobody has it yet.
func (s *system) adminMade() error {
	v := s.serving
	if v.adminPassword == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(s.cfg.Data, adminFile), []byte(v.cfg.AdminUsername+"\n"), 0o600); err != nil {
		return fmt.Errorf("note that the admin was made: %w", err)
	}
	if !v.madeUp {
		return nil
	}
	_, _ = fmt.Fprintf(s.out, "\nThe admin is %s, with the password %s\nThis is shown once. starling users passwd %[1]s sets another.\n\n", v.cfg.AdminUsername, v.adminPassword)
	if err := os.Remove(filepath.Join(s.cfg.Data, adminPasswordFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget the admin's password: %w", err)
	}
	return nil
}

// servingArgs are the settings of a service that others rely on: what the environment does not say is as the chart has it.
func (s *system) servingArgs(name string) []string {
	v := s.serving
	switch name {
	case "auth":
		args := []string{"--published-address=", "--key-encryption-secret=" + v.keySecret, "--admin-username=", "--admin-password="}
		if v.adminPassword != "" {
			args = append(args, "--admin-username="+v.cfg.AdminUsername, "--admin-password="+v.adminPassword)
		}
		return args
	case "chat":
		if said, err := settings.Env("CHAT_BROADCAST"); err == nil && said == "" {
			return []string{"--chat-broadcast=off"}
		}
	}
	return nil
}

// tlsArgs are the settings by which a gateway answers clients; what is for trying things out has no TLS.
func (s *system) tlsArgs() []string {
	var t gateway.TLS
	if s.serving != nil {
		t = s.serving.cfg.TLS
		t.Cache = cmp.Or(t.Cache, filepath.Join(s.cfg.Data, "acme"))
	}
	args := []string{
		"--tls-cert=" + t.Cert, "--tls-key=" + t.Key, "--acme-domains=" + strings.Join(t.Domains, ","), "--acme-email=" + t.Email,
		"--acme-cache=" + t.Cache, "--http-listen=" + t.Plain,
	}
	if t.Directory != "" {
		args = append(args, "--acme-directory="+t.Directory)
	}
	return args
}

// ready tells those who wait: systemd, the log, and whoever started it.
func (s *system) ready(ctx context.Context) error {
	if err := s.adminMade(); err != nil {
		return err
	}
	s.serving.log.LogAttrs(ctx, slog.LevelInfo, "ready", slog.String("address", s.cfg.Listen), slog.Bool("tls", s.serving.cfg.TLS.On()), slog.String("data", s.cfg.Data))
	if err := notify(ctx, "READY=1"); err != nil {
		s.serving.log.LogAttrs(ctx, slog.LevelWarn, "systemd was not told", slog.Any("error", err))
	}
	return nil
}

// notify tells systemd the state of the service, where it asked to be told: sd_notify(3).
func notify(ctx context.Context, state string) error {
	address, err := settings.Env("NOTIFY_SOCKET")
	if err != nil || address == "" {
		return err
	}
	if address[0] == '@' { // an abstract one
		address = "\x00" + address[1:]
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unixgram", address)
	if err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	defer conn.Close() //nolint:errcheck // a datagram has been sent or not
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return nil
}
