package bus_test

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/platform/certs"
	"github.com/starling-chat/starling/platform/certs/certstest"
	"github.com/starling-chat/starling/platform/settings"
)

// startNATS runs a server with options of its own on a free port.
func startNATS(t *testing.T, options *server.Options) string {
	t.Helper()
	options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("NATS is not ready")
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Addr().(*net.TCPAddr).Port))
}

// startTLS runs a server that speaks TLS only; with verify it asks for certificates.
func startTLS(t *testing.T, files certs.Files, verify bool) string {
	t.Helper()
	config, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: files.Cert, KeyFile: files.Key, CaFile: files.CA, Verify: verify})
	if err != nil {
		t.Fatal(err)
	}
	return startNATS(t, &server.Options{TLSConfig: config, TLS: true, TLSVerify: verify, TLSTimeout: 30})
}

// connect tells why nothing can be sent with settings; "" when it can.
func connect(t *testing.T, s bus.Settings) string {
	t.Helper()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	nc, err := bus.Connect(t.Context(), s.Config("test", slog.New(slog.NewTextHandler(lineWriter(lines), nil))))
	if err != nil {
		return err.Error()
	}
	defer nc.Close()
	connected := nc.StatusChanged(nats.CONNECTED)
	for {
		if nc.IsConnected() {
			if _, err := nc.RTT(); err != nil {
				return err.Error()
			}
			return ""
		}
		select {
		case <-connected:
		case line := <-lines:
			if strings.Contains(line, "NATS is not reached") && !strings.Contains(line, "i/o timeout") { // no answer is no refusal: it tries again
				return line
			}
		case <-time.After(30 * time.Second):
			return "neither connected nor refused"
		}
	}
}

// TestTLS: NATS is spoken to by TLS as the settings say, with a certificate where it asks for one, and never in plain text where
// authorities are given.
func TestTLS(t *testing.T) {
	t.Parallel()
	a, b := certstest.New(t), certstest.New(t)
	files, stranger := a.Files(t, "127.0.0.1", "localhost"), b.Files(t, "gateway")
	secure, mutual := startTLS(t, files, false), startTLS(t, files, true)
	named := startTLS(t, a.Files(t, "nats.example"), false)
	plain := strings.TrimPrefix(bustest.Server(t).URL(), "nats://")
	for name, tc := range map[string]struct {
		address string
		s       bus.Settings
		refused string // a part of the reason; "" when it connects
	}{
		"TLS":                        {secure, bus.Settings{CA: files.CA}, ""},
		"a certificate nobody needs": {secure, bus.Settings{CA: files.CA, Cert: files.Cert, Key: files.Key}, ""},
		"mutual":                     {mutual, bus.Settings{CA: files.CA, Cert: files.Cert, Key: files.Key}, ""},
		"no certificate":             {mutual, bus.Settings{CA: files.CA}, "NATS is not reached"},
		"a stranger's certificate":   {mutual, bus.Settings{CA: files.CA, Cert: stranger.Cert, Key: stranger.Key}, "NATS is not reached"},
		"another authority":          {secure, bus.Settings{CA: stranger.CA}, "authority"},
		"another name":               {named, bus.Settings{CA: files.CA}, "127.0.0.1"},
		"the system's authorities":   {secure, bus.Settings{}, "authority"},
		"plain text":                 {plain, bus.Settings{CA: files.CA}, "secure"},
		"no TLS":                     {plain, bus.Settings{}, ""},
	} {
		for _, scheme := range []string{"nats://", "tls://"} {
			if scheme == "tls://" && tc.address == plain {
				continue
			}
			tc.s.URL = settings.URL(scheme + tc.address)
			if got := connect(t, tc.s); (got == "") != (tc.refused == "") || !strings.Contains(got, tc.refused) {
				t.Errorf("%s by %s: refused because of %q, want %q", name, scheme, got, tc.refused)
			}
		}
	}
}

// TestTLSRenewal: a connection that is made again takes the files as they are then.
func TestTLSRenewal(t *testing.T) {
	t.Parallel()
	old, next := certstest.New(t), certstest.New(t)
	before, after := old.Files(t, "127.0.0.1"), next.Files(t, "127.0.0.1")
	first, second := startTLS(t, before, true), startTLS(t, after, true)
	mine := certs.Files{Cert: filepath.Join(t.TempDir(), "cert"), Key: filepath.Join(t.TempDir(), "key"), CA: filepath.Join(t.TempDir(), "ca")}
	give := func(from certs.Files) {
		for to, from := range map[string]string{mine.Cert: from.Cert, mine.Key: from.Key, mine.CA: from.CA} {
			text, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(to, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	give(before)
	s := bus.Settings{URL: settings.URL("nats://" + first + ",nats://" + second), CA: mine.CA, Cert: mine.Cert, Key: mine.Key}
	nc, err := bus.Connect(t.Context(), s.Config("test", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := bustest.WaitConnected(t.Context(), nc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(nc.ConnectedUrl(), first) {
		t.Fatalf("connected to %s, want the server of the old authority, %s", nc.ConnectedUrl(), first)
	}
	back := make(chan struct{}, 1)
	bus.OnReconnect(nc, func() { back <- struct{}{} })
	give(after)
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-back:
	case <-time.After(30 * time.Second):
		t.Fatal("not connected again")
	}
	if !strings.HasSuffix(nc.ConnectedUrl(), second) {
		t.Errorf("connected to %s, want the server of the new authority, %s", nc.ConnectedUrl(), second)
	}
}

// credentials makes a server that knows users by JWT, and the credentials file of one.
func credentials(t *testing.T) (address, file string) {
	t.Helper()
	pair := func(create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		keys, err := create()
		if err != nil {
			t.Fatal(err)
		}
		public, err := keys.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return keys, public
	}
	operator, operatorKey := pair(nkeys.CreateOperator)
	account, accountKey := pair(nkeys.CreateAccount)
	user, userKey := pair(nkeys.CreateUser)
	accountToken, err := jwt.NewAccountClaims(accountKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	userToken, err := jwt.NewUserClaims(userKey).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(userToken, seed)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(accountKey, accountToken); err != nil {
		t.Fatal(err)
	}
	return startNATS(t, &server.Options{TrustedKeys: []string{operatorKey}, AccountResolver: resolver}), file
}

// TestCredentials: a credentials file stands for user and password, and one that is none is refused at the start.
func TestCredentials(t *testing.T) {
	t.Parallel()
	address, file := credentials(t)
	_, foreign := credentials(t)
	url := settings.URL("nats://" + address)
	if got := connect(t, bus.Settings{URL: url, Creds: file, User: "not used"}); got != "" {
		t.Errorf("with credentials: %s, want it connected", got)
	}
	for _, s := range []bus.Settings{{URL: url}, {URL: url, User: "u", Password: "p"}, {URL: url, Creds: foreign}} {
		if got := connect(t, s); !strings.Contains(got, "uthorization") {
			t.Errorf("user %q, credentials %q: %s, want them refused", s.User, s.Creds, got)
		}
	}
	// A server inside the process needs neither.
	inside, err := embedded.Start(embedded.Config{StoreDir: t.TempDir(), Port: embedded.InProcessOnly})
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	if got := connect(t, bus.Settings{InProcess: inside.InProcess(), CA: certstest.New(t).Files(t, "x").CA}); got != "" {
		t.Errorf("in process: %s, want it connected", got)
	}
}

// TestTLSSettings: what cannot work is refused with the names of the settings, and without anything of the files.
func TestTLSSettings(t *testing.T) {
	files := certstest.New(t).Files(t, "localhost")
	_, creds := credentials(t)
	text, err := os.ReadFile(creds)
	if err != nil {
		t.Fatal(err)
	}
	token, _, _ := strings.Cut(string(text), "-----BEGIN USER NKEY SEED")
	half := filepath.Join(t.TempDir(), "half.creds")
	if err := os.WriteFile(half, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		s    bus.Settings
		want string
	}{
		"a certificate without its key": {bus.Settings{Cert: files.Cert}, "NATS_TLS_KEY"},
		"a key without its certificate": {bus.Settings{Key: files.Key}, "NATS_TLS_CERT"},
		"a file that is not there":      {bus.Settings{CA: "/nowhere"}, "NATS_TLS_CA: open /nowhere"},
		"another's key":                 {bus.Settings{Cert: files.Cert, Key: certstest.New(t).Files(t, "x").Key}, "NATS_TLS_KEY"},
		"no credentials there":          {bus.Settings{Creds: "/nowhere"}, "NATS_CREDS: open /nowhere"},
		"credentials without a token":   {bus.Settings{Creds: files.Cert}, "NATS_CREDS"},
		"credentials without a key":     {bus.Settings{Creds: half}, "NATS_CREDS"},
	} {
		tc.s.URL = "nats://localhost:4222"
		err := tc.s.Validate()
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%s: %v, want one line with %q", name, err, tc.want)
		}
	}
}
