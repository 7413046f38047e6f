package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starling-chat/starling/platform/certs"
	"github.com/starling-chat/starling/platform/certs/certstest"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// TestCheck: whatever is wrong with the files is one line that names the setting, and shows nothing of a key.
func TestCheck(t *testing.T) {
	a := certstest.New(t)
	good, other := a.Files(t, "chat-service"), a.Files(t, "auth-service")
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("-----BEGIN s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		files certs.Files
		want  []string // nothing: it is fine
	}{
		"none":                  {certs.Files{}, nil},
		"all":                   {good, nil},
		"authorities only":      {certs.Files{CA: good.CA}, nil},
		"no key":                {certs.Files{Cert: good.Cert}, []string{"X_CERT", "X_KEY"}},
		"no certificate":        {certs.Files{Key: good.Key}, []string{"X_CERT", "X_KEY"}},
		"missing certificate":   {certs.Files{Cert: "/nowhere/cert", Key: good.Key}, []string{"X_CERT", "/nowhere/cert"}},
		"missing key":           {certs.Files{Cert: good.Cert, Key: "/nowhere/key"}, []string{"X_KEY", "/nowhere/key"}},
		"missing authorities":   {certs.Files{CA: "/nowhere/ca"}, []string{"X_CA", "/nowhere/ca"}},
		"a folder":              {certs.Files{CA: filepath.Dir(good.CA)}, []string{"X_CA"}},
		"another's key":         {certs.Files{Cert: good.Cert, Key: other.Key}, []string{"X_CERT", "X_KEY", "does not match"}},
		"key for certificate":   {certs.Files{Cert: good.Key, Key: good.Key}, []string{"X_CERT"}},
		"broken certificate":    {certs.Files{Cert: broken, Key: good.Key}, []string{"X_CERT", broken}},
		"broken key":            {certs.Files{Cert: good.Cert, Key: broken}, []string{"X_KEY", broken}},
		"broken authorities":    {certs.Files{CA: broken}, []string{"X_CA", broken}},
		"a key for authorities": {certs.Files{CA: good.Key}, []string{"X_CA", good.Key}},
	} {
		err := tc.files.Check("X_")
		if (err == nil) != (tc.want == nil) {
			t.Errorf("%s: Check = %v, want an error: %v", name, err, tc.want != nil)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: Check = %q, want one line with %q", name, err, want)
			}
		}
	}
}

// shake makes one TLS connection and returns what the server showed.
func shake(t *testing.T, server, client *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // no pipe: both sides may write at once
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = near.Close() }()
	ended := make(chan error, 1)
	go func() {
		far, err := listener.Accept()
		if err != nil {
			ended <- err
			return
		}
		conn := tls.Server(far, server)
		err = conn.HandshakeContext(t.Context())
		if err == nil {
			_, err = conn.Write([]byte("x")) // by then the client's certificate was judged
		}
		_ = far.Close()
		ended <- err
	}()
	client = client.Clone()
	client.ServerName = "chat-service"
	conn := tls.Client(near, client)
	err = conn.HandshakeContext(t.Context())
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	_ = near.Close()
	if failed := <-ended; err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}

func client(t *testing.T, s *certs.Source) *tls.Config {
	t.Helper()
	config, err := s.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestRenewal: files that were renewed are used from the next handshake on, on both sides; files that do not fit together, as in the
// middle of a renewal, change nothing and are told of.
func TestRenewal(t *testing.T) {
	a, b := certstest.New(t), certstest.New(t)
	files := a.Files(t, "chat-service")
	var log faulttest.Log
	source := certs.NewSource(files, "X_", log.Logger())
	server := source.Server(false)
	first, err := shake(t, server, client(t, source))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(files.Key)
	if err != nil {
		t.Fatal(err)
	}
	a.Renew(t, files, "chat-service")
	renewed, err := os.ReadFile(files.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files.Key, key, 0o600); err != nil { // the old key beside the new certificate
		t.Fatal(err)
	}
	if got, err := shake(t, server, client(t, source)); err != nil || !got.Equal(first) {
		t.Errorf("in the middle of a renewal: %v, want the certificate of before", err)
	}
	if !strings.Contains(log.String(), "X_CERT") || !strings.Contains(log.String(), "stay in use") {
		t.Errorf("log = %s, want that the files do not fit together", log.String())
	}
	if err := os.WriteFile(files.Key, renewed, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := shake(t, server, client(t, source)); err != nil || got.Equal(first) {
		t.Errorf("after the renewal: %v, want the other certificate", err)
	}
	if n := strings.Count(log.String(), "certificate in use"); n != 2 {
		t.Errorf("log = %s, tells %d times which certificate is used, want 2", log.String(), n)
	}
	// Another authority is believed from the next connection on.
	others := b.Files(t, "chat-service")
	foreign := certs.NewSource(others, "X_", nil)
	if _, err := shake(t, foreign.Server(false), client(t, source)); err == nil {
		t.Error("a server of another authority is believed")
	}
	authorities, err := os.ReadFile(others.CA)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files.CA, authorities, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, foreign.Server(false), client(t, source)); err != nil {
		t.Errorf("after the authority's file was changed: %v", err)
	}
}

// TestClientCerts: who shows none, or one of another authority, is not answered.
func TestClientCerts(t *testing.T) {
	a, b := certstest.New(t), certstest.New(t)
	server := certs.NewSource(a.Files(t, "chat-service"), "X_", nil).Server(true)
	ours := a.Files(t, "gateway")
	theirs := b.Files(t, "gateway")
	for name, tc := range map[string]struct {
		files certs.Files
		ok    bool
	}{
		"ours":      {ours, true},
		"none":      {certs.Files{CA: ours.CA}, false},
		"another's": {certs.Files{Cert: theirs.Cert, Key: theirs.Key, CA: ours.CA}, false},
	} {
		if _, err := shake(t, server, client(t, certs.NewSource(tc.files, "X_", nil))); (err == nil) != tc.ok {
			t.Errorf("%s: %v, want it answered: %v", name, err, tc.ok)
		}
	}
}

// TestNeverRead: without files that were ever read there is no TLS, rather than one without a certificate.
func TestNeverRead(t *testing.T) {
	s := certs.NewSource(certs.Files{Cert: "/nowhere", Key: "/nowhere", CA: "/nowhere"}, "X_", nil)
	if _, err := s.Client(t.Context()); err == nil {
		t.Error("Client = nil, want an error")
	}
	if _, err := s.Server(true).GetConfigForClient(&tls.ClientHelloInfo{}); err == nil {
		t.Error("Server = nil, want an error")
	}
	if _, err := s.Certificate(t.Context())(); err == nil {
		t.Error("Certificate = nil, want an error")
	}
	if _, err := s.Roots(t.Context())(); err == nil {
		t.Error("Roots = nil, want an error")
	}
	plain := certs.NewSource(certs.Files{}, "X_", nil)
	if plain.Certificate(t.Context()) != nil || plain.Roots(t.Context()) != nil {
		t.Error("without files there are functions that give them")
	}
}
