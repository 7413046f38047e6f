package rpc

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/starling-chat/starling/platform/certs"
	"github.com/starling-chat/starling/platform/certs/certstest"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

func withFiles(files certs.Files) Settings {
	return Settings{Listen: "127.0.0.1:0", Token: gatewayToken, Cert: files.Cert, Key: files.Key, CA: files.CA}
}

// TestTLS: calls go by TLS to servers that show a certificate of the authority, for the name that was asked for; servers answer
// whom the settings say; whoever fails finds the reason in the log of both sides.
func TestTLS(t *testing.T) {
	a, b := certstest.New(t), certstest.New(t)
	ours, stranger := a.Files(t, "localhost", "127.0.0.1"), b.Files(t, "localhost")
	for name, tc := range map[string]struct {
		server, client Settings
		mutual         bool
		target         string
		ok             bool
		logged         string // by the client
	}{
		"TLS":                      {withFiles(ours), withFiles(certs.Files{CA: ours.CA}), false, "localhost", true, ""},
		"of an address":            {withFiles(ours), withFiles(certs.Files{CA: ours.CA}), false, "127.0.0.1", true, ""},
		"with client certificates": {withFiles(ours), withFiles(ours), true, "localhost", true, ""},
		"without one":              {withFiles(ours), withFiles(certs.Files{CA: ours.CA}), true, "localhost", false, ""},
		"with one of a stranger":   {withFiles(ours), withFiles(certs.Files{Cert: stranger.Cert, Key: stranger.Key, CA: ours.CA}), true, "localhost", false, ""},
		"another authority":        {withFiles(stranger), withFiles(certs.Files{CA: ours.CA}), false, "localhost", false, "unknown authority"},
		"another name":             {withFiles(a.Files(t, "chat-service")), withFiles(certs.Files{CA: ours.CA}), false, "localhost", false, "chat-service"},
		"plain text to TLS":        {withFiles(ours), withFiles(certs.Files{}), false, "localhost", false, ""},
		"TLS to plain text":        {withFiles(certs.Files{}), withFiles(certs.Files{CA: ours.CA}), false, "localhost", false, "TLS handshake"},
		"no TLS":                   {withFiles(certs.Files{}), withFiles(certs.Files{}), false, "localhost", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log, serverLog faulttest.Log
			tc.server.ClientCerts = tc.mutual
			for _, s := range []Settings{tc.server, tc.client} {
				if err := s.Validate(); err != nil {
					t.Fatal(err)
				}
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			tc.server.Listener = listener
			serve(t, tc.server.Server(nil, serverLog.Logger()), func(context.Context) error { return nil })
			_, port, _ := net.SplitHostPort(listener.Addr().String())
			err = invoke(t, dial(t, net.JoinHostPort(tc.target, port), tc.client.Client(log.Logger())))
			if tc.ok != (err == nil) || !tc.ok && status.Code(err) != codes.Unavailable {
				t.Errorf("call = %v, want it answered: %v", err, tc.ok)
			}
			if !strings.Contains(log.String(), tc.logged) || tc.logged != "" && !strings.Contains(log.String(), "no TLS with a service") {
				t.Errorf("the client's log = %s, want %q in it", log.String(), tc.logged)
			}
			if !tc.ok && tc.server.Cert != "" {
				awaitLog(t, &serverLog, "no TLS with a caller")
			}
		})
	}
}

// awaitLog waits until a text is in the log: a server notices after its client that a handshake failed.
func awaitLog(t *testing.T, log *faulttest.Log, text string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(log.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("log = %s, want %q in it", log.String(), text)
		}
	}
}

// TestTLSList: each address of a list is asked for a certificate of its own name.
func TestTLSList(t *testing.T) {
	t.Parallel()
	a := certstest.New(t)
	var calls [2]atomic.Int32
	var targets []string
	var client ClientConfig
	for i, name := range []string{"localhost", "127.0.0.1"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := withFiles(a.Files(t, name))
		s.Listener = listener
		serve(t, s.Server(nil, nil), func(context.Context) error { calls[i].Add(1); return nil })
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		targets = append(targets, net.JoinHostPort(name, port))
		client = s.Client(nil)
	}
	conn := dial(t, strings.Join(targets, ","), client)
	for end := time.Now().Add(30 * time.Second); calls[0].Load() == 0 || calls[1].Load() == 0; {
		if err := invoke(t, conn); err != nil || time.Now().After(end) {
			t.Fatalf("call = %v; %d and %d calls, want both servers called", err, calls[0].Load(), calls[1].Load())
		}
	}
}

// TestTLSRenewal: a server whose authority and certificate are replaced, and clients that got the new authority beside the old one
// before, go on without a restart.
func TestTLSRenewal(t *testing.T) {
	t.Parallel()
	old, next := certstest.New(t), certstest.New(t)
	server, renewed := old.Files(t, "127.0.0.1"), next.Files(t, "127.0.0.1")
	client := certs.Files{CA: filepath.Join(t.TempDir(), "ca.pem")}
	give := func(file string, from ...string) {
		var text []byte
		for _, f := range from {
			part, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, part...)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	give(client.CA, server.CA)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, c := withFiles(server), withFiles(client)
	s.Listener = listener
	serve(t, s.Server(nil, nil), func(context.Context) error { return nil })
	caller := c.Client(nil) // one source for all connections that it makes
	call := func() error { return invoke(t, dial(t, listener.Addr().String(), caller)) }
	if err := call(); err != nil {
		t.Fatalf("before: %v", err)
	}
	give(client.CA, server.CA, renewed.CA)
	if err := call(); err != nil {
		t.Errorf("with both authorities: %v", err)
	}
	give(server.Cert, renewed.Cert)
	if err := call(); err != nil { // the new certificate beside the old key: the pair of before stays
		t.Errorf("in the middle: %v", err)
	}
	give(server.Key, renewed.Key)
	if err := call(); err != nil {
		t.Errorf("with the new certificate: %v", err)
	}
	give(client.CA, renewed.CA)
	if err := call(); err != nil {
		t.Errorf("with the new authority only: %v", err)
	}
	give(client.CA, server.CA)
	if err := call(); status.Code(err) != codes.Unavailable {
		t.Errorf("with the old authority only: %v, want it refused: the new certificate is shown", err)
	}
}

// TestTLSSettings: what cannot work is refused with the names of the settings.
func TestTLSSettings(t *testing.T) {
	files := certstest.New(t).Files(t, "localhost")
	for name, tc := range map[string]struct {
		s    Settings
		want string
	}{
		"client certificates without authorities":   {Settings{Cert: files.Cert, Key: files.Key, ClientCerts: true}, "GRPC_TLS_CA"},
		"client certificates without a certificate": {Settings{CA: files.CA, ClientCerts: true}, "GRPC_TLS_CERT"},
		"a certificate without its key":             {Settings{Cert: files.Cert}, "GRPC_TLS_KEY"},
		"a file that is not there":                  {Settings{CA: "/nowhere"}, "GRPC_TLS_CA: open /nowhere"},
		"another's key":                             {Settings{Cert: files.Cert, Key: certstest.New(t).Files(t, "x").Key}, "GRPC_TLS_KEY"},
		"also where nothing is served":              {Settings{Listen: "", Key: files.Key}, "GRPC_TLS_CERT"},
	} {
		if err := tc.s.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", name, err, tc.want)
		}
	}
}
