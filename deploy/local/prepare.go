package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	authservice "github.com/starling-chat/starling/auth-service"
	"github.com/starling-chat/starling/gateway"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/settings"
)

// demoUsers returns the demo accounts. Their passwords are in the documentation: they are for this machine only.
func demoUsers() []authservice.DemoUser {
	return []authservice.DemoUser{
		{Username: "alice", Password: "alice-demo-password", Name: "Alice", Role: "user"},
		{Username: "bob", Password: "bob-demo-password", Name: "Bob", Role: "user"},
		{Username: "admin", Password: "admin-demo-password", Name: "Admin", Role: "admin"},
	}
}

// prepare reads all settings and takes all ports. It creates nothing.
func (s *system) prepare(ctx context.Context) error {
	s.crowd = newCrowd(func(ctx context.Context, method, path string, body any) error {
		return s.backend(ctx, method, path, body, nil)
	})
	if err := s.readSecrets(ctx); err != nil {
		return err
	}
	for _, address := range s.gatewayAddresses() {
		listener, err := settings.Listen(ctx, "LISTEN (another --listen?)", address)
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, listener)
	}
	for i := range s.adminAddresses() {
		listener, err := settings.Listen(ctx, "ADMIN", after(s.cfg.Admin, i))
		if err != nil {
			return err
		}
		s.admins = append(s.admins, listener)
	}
	s.grpc = make(map[string]net.Listener)
	for _, name := range serviceNames() {
		listener, err := settings.Listen(ctx, "gRPC of "+name+"-service", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.grpc[name] = listener
	}
	if err := s.readServices(); err != nil {
		return err
	}
	return s.readGateways()
}

// adminAddresses is how many addresses have health and metrics: those of the gateways, and of the services where others rely on them.
func (s *system) adminAddresses() int {
	switch {
	case s.cfg.Admin == "":
		return 0
	case s.serving != nil:
		return s.cfg.Gateways + len(serviceNames())
	}
	return s.cfg.Gateways
}

func serviceNames() []string { return []string{"auth", "chat", "presence"} }

// closeListeners closes what prepare took; those that were served are closed already.
func (s *system) closeListeners() {
	for _, listener := range slices.Concat(s.listeners, s.admins, slices.Collect(maps.Values(s.grpc))) {
		_ = listener.Close()
	}
	if s.serving != nil && s.serving.plain != nil {
		_ = s.serving.plain.Close()
	}
}

// readServices reads the settings of auth-, chat- and presence-service: those of their binaries, from the environment, save for the
// addresses, of which database's and NATS's are known later.
func (s *system) readServices() error {
	for name, cfg := range s.services() {
		if err := settings.Parse(name+"-service", "", cfg, s.serviceArgs(name)); err != nil {
			return &settings.Wrong{Setting: "settings of " + name + "-service", Err: err}
		}
	}
	s.auth.RPC.Listener, s.chat.RPC.Listener, s.presence.RPC.Listener = s.grpc["auth"], s.grpc["chat"], s.grpc["presence"]
	s.auth.DemoUsers = s.demo
	if len(s.admins) > s.cfg.Gateways {
		for i, o := range []*obs.Settings{&s.auth.Obs, &s.chat.Obs, &s.presence.Obs} { // as serviceNames has them
			o.Listener, o.Profiles = s.admins[s.cfg.Gateways+i], s.cfg.Profiles
		}
	}
	return nil
}

// services are the settings of the services, by name.
func (s *system) services() map[string]any {
	return map[string]any{"auth": &s.auth, "chat": &s.chat, "presence": &s.presence}
}

// serviceArgs are the settings of a service that the environment does not choose.
func (s *system) serviceArgs(name string) []string {
	args := []string{
		"--admin-listen=", "--grpc-listen=" + s.address(name), "--db-schema=" + name,
		"--database-url=" + cmp.Or(s.cfg.DatabaseURL, laterURL).Reveal(), "--nats-url=" + cmp.Or(s.cfg.NATSURL, insideURL).Reveal(),
	}
	args = append(args, s.withinProcess()...)
	if name == "presence" {
		args = append(args, "--chat-service-addr="+s.address("chat"))
	}
	if s.serving != nil {
		return append(args, s.servingArgs(name)...)
	}
	switch name {
	case "auth":
		args = append(args, "--api-key="+s.apiKey, "--published-address=localhost") // people try things out
	case "chat":
		args = append(args, "--stream-max-bytes="+natsMaxBytes)
	}
	return args
}

// gatewayArgs are the settings of a gateway that the environment does not choose.
func (s *system) gatewayArgs(i int, listen string) []string {
	args := []string{
		"--listen=" + listen, "--admin-listen=", "--grpc-listen=",
		"--auth-service-addr=" + s.address("auth"), "--chat-service-addr=" + s.address("chat"),
		"--presence-service-addr=" + s.address("presence"), "--drain-window=" + drainWindow.String(),
		"--gateway-id=" + "local-" + strconv.Itoa(i+1), "--nats-url=" + cmp.Or(s.cfg.NATSURL, insideURL).Reveal(),
	}
	return append(append(args, s.tlsArgs()...), s.withinProcess()...)
}

// Faults tells what is wrong with the settings of the services and gateways, which it reads as the system does. It takes no port.
func (c *Config) Faults() []string {
	s := &system{cfg: *c, token: randomHex(), apiKey: randomHex()}
	if key, err := settings.Env("API_KEY"); err != nil {
		return []string{err.Error()}
	} else if key != "" {
		s.apiKey = key
	}
	return s.faults(settings.Check("starling", new(Config), nil))
}

// faults tells what is wrong with the settings of the parts and was not told before: what all of them share is told once.
func (s *system) faults(told []string) (faults []string) {
	add := func(name string, found []string) {
		for _, fault := range found {
			if !slices.Contains(told, fault) {
				told, faults = append(told, fault), append(faults, name+": "+fault)
			}
		}
	}
	for _, name := range serviceNames() {
		add(name+"-service", settings.Check(name+"-service", s.services()[name], s.serviceArgs(name)))
	}
	add("gateway", settings.Check("gateway", new(gateway.Config), s.gatewayArgs(0, s.cfg.Listen)))
	return faults
}

const (
	laterURL  settings.URL = "postgres://localhost/starling" // until the private PostgreSQL runs
	insideURL settings.URL = "nats://in-process"
)

func (s *system) readGateways() error {
	for i, listener := range s.listeners {
		var cfg gateway.Config
		if err := settings.Parse("gateway", "", &cfg, s.gatewayArgs(i, listener.Addr().String())); err != nil {
			return &settings.Wrong{Setting: "settings of the gateway", Err: err}
		}
		cfg.Listener = listener
		cfg.Demo, cfg.Developer = s.demoAccounts(), s.developer()
		if s.serving != nil {
			cfg.TLS.PlainListener = s.serving.plain
		}
		if s.cfg.Admin != "" {
			cfg.Obs.Listener, cfg.Obs.Profiles = s.admins[i], s.cfg.Profiles
		}
		s.gateways = append(s.gateways, cfg)
	}
	return nil
}

// withinProcess are the settings of calls that never leave the process, whatever the environment says of other installations: one
// token, and no TLS.
func (s *system) withinProcess() []string {
	return []string{
		"--service-token=" + s.token, "--service-token-other=", "--service-tokens=", "--grpc-tls-cert=", "--grpc-tls-key=", "--grpc-tls-ca=", "--grpc-tls-client-certs=false",
	}
}

// address is where a service answers; while nothing listens yet, some address of this machine.
func (s *system) address(service string) string {
	if listener := s.grpc[service]; listener != nil {
		return listener.Addr().String()
	}
	return "127.0.0.1:1"
}

// gatewayAddresses are those of the gateways, on consecutive ports.
func (s *system) gatewayAddresses() []string {
	addresses := make([]string, s.cfg.Gateways)
	for i := range addresses {
		addresses[i] = after(s.cfg.Listen, i)
	}
	return addresses
}

// after is an address i ports after one that Validate has looked at.
func after(address string, i int) string {
	host, port, _ := net.SplitHostPort(address)
	first, _ := strconv.Atoi(port)
	return net.JoinHostPort(host, strconv.Itoa(first+i))
}

// Files in the data folder that keep what was made up.
const (
	apiKeyFile    = "api-key"
	passwordsFile = "demo-passwords" // a line each: username, blank, password
)

// readSecrets reads the API key and the passwords of the demo accounts, or makes them up; writeSecrets keeps them.
func (s *system) readSecrets(ctx context.Context) error {
	if s.serving != nil {
		return s.readServing(ctx)
	}
	var err error
	if s.apiKey, err = settings.Env("API_KEY"); err != nil {
		return err
	}
	if s.apiKey == "" {
		if s.apiKey, err = s.kept(apiKeyFile); err != nil {
			return err
		}
	}
	if s.apiKey == "" {
		s.apiKey = randomHex()
		s.made = append(s.made, secretFile{apiKeyFile, s.apiKey + "\n"})
	}
	s.demo = demoUsers()
	passwords, err := s.kept(passwordsFile)
	if err != nil {
		return err
	}
	switch {
	case passwords != "": // the accounts were made with these
		for line := range strings.Lines(passwords) {
			name, password, _ := strings.Cut(strings.TrimSpace(line), " ")
			for i := range s.demo {
				if s.demo[i].Username == name {
					s.demo[i].Password = password
				}
			}
		}
	case onlyThisMachine(s.cfg.Listen):
	default:
		return s.randomPasswords()
	}
	return nil
}

// randomPasswords replaces the documented passwords, because others can reach the system.
func (s *system) randomPasswords() error {
	if _, err := os.Stat(filepath.Join(s.cfg.Data, postgresPlace)); err == nil && s.cfg.DatabaseURL == "" {
		return &settings.Wrong{Setting: "LISTEN", Err: fmt.Errorf(
			"%s lets others in, and the demo accounts in %s have passwords that everybody knows; give another --data, or --clean it", s.cfg.Listen, s.cfg.Data)}
	}
	var lines strings.Builder
	for i := range s.demo {
		s.demo[i].Password = randomHex()
		fmt.Fprintf(&lines, "%s %s\n", s.demo[i].Username, s.demo[i].Password)
	}
	s.made = append(s.made, secretFile{passwordsFile, lines.String()})
	return nil
}

// onlyThisMachine tells whether nobody else can connect to an address.
func onlyThisMachine(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

type secretFile struct{ name, text string }

// kept reads a file of the data folder; it is "" where there is none.
func (s *system) kept(name string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(s.cfg.Data, name)) //nolint:gosec // in the user's own folder
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", &settings.Wrong{Setting: "STARLING_DATA", Err: err}
	}
	return strings.TrimSpace(string(raw)), nil
}

func (s *system) writeSecrets() error {
	for _, file := range s.made {
		if err := os.WriteFile(filepath.Join(s.cfg.Data, file.name), []byte(file.text), 0o600); err != nil {
			return fmt.Errorf("keep %s: %w", file.name, err)
		}
	}
	return nil
}
