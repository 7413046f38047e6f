package https

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starling-chat/starling/platform/certs"
	"github.com/starling-chat/starling/platform/certs/certstest"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// patience guards against hanging.
const patience = 30 * time.Second

// serve has a Front answer at a new address until the test ends, or stop is called.
func serve(t *testing.T, cfg Config, log *slog.Logger, before func(secure net.Listener)) (address string, stop func()) {
	t.Helper()
	listener := localhost(t)
	cfg.Secure = listener.Addr()
	if before != nil {
		before(listener)
	}
	front := New(cfg, log)
	server := &http.Server{
		ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("served")) }),
	}
	ctx, cancel := context.WithCancel(t.Context())
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(front.Wrap(listener)) })
	served.Go(func() { _ = front.Run(ctx) })
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		_ = server.Close()
		served.Wait()
	}
	t.Cleanup(stop)
	return listener.Addr().String(), stop
}

// shown is the certificate that a client sees which asks for name and believes roots.
func shown(t *testing.T, address, name string, roots *x509.CertPool, protocols ...string) (*x509.Certificate, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: roots, NextProtos: protocols, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, "", err
	}
	defer conn.Close() //nolint:errcheck // a test
	state := conn.(*tls.Conn).ConnectionState()
	return state.PeerCertificates[0], state.NegotiatedProtocol, nil
}

// TestFiles: the certificate of the files is shown, that of renewed files from the next connection on, and HTTP/2 is not spoken.
func TestFiles(t *testing.T) {
	a := certstest.New(t)
	files := a.Files(t, "chat.example.test")
	roots := x509.NewCertPool()
	authorities, err := os.ReadFile(files.CA)
	if err != nil || !roots.AppendCertsFromPEM(authorities) {
		t.Fatal(err)
	}
	address, _ := serve(t, Config{Files: certs.Files{Cert: files.Cert, Key: files.Key}}, slog.New(slog.DiscardHandler), nil)
	first, protocol, err := shown(t, address, "chat.example.test", roots, "h2", "http/1.1")
	if err != nil || protocol != "http/1.1" {
		t.Fatalf("a client of HTTP/2 speaks %q, %v, want http/1.1", protocol, err)
	}
	a.Renew(t, files, "chat.example.test")
	second, _, err := shown(t, address, "chat.example.test", roots)
	if err != nil || second.Equal(first) {
		t.Errorf("after the renewal: %v, want another certificate", err)
	}
	if _, _, err := shown(t, address, "other.example.test", roots); err == nil {
		t.Error("a name that is not in the certificate is believed")
	}
}

// TestPlainText: without files and domains nothing is wrapped.
func TestPlainText(t *testing.T) {
	l := localhost(t)
	defer l.Close() //nolint:errcheck // a test
	if New(Config{}, slog.New(slog.DiscardHandler)).Wrap(l) != l {
		t.Error("without TLS the listener is another one")
	}
}

// TestRedirect: who comes by plain HTTP is sent to the same place by HTTPS; what is said there is refused, not carried over.
func TestRedirect(t *testing.T) {
	files := certstest.New(t).Files(t, "chat.example.test")
	plain := localhost(t)
	address, _ := serve(t, Config{Files: certs.Files{Cert: files.Cert, Key: files.Key}, Plain: plain}, slog.New(slog.DiscardHandler), nil)
	_, port, _ := net.SplitHostPort(address)
	ask := func(method, host, path string) *http.Response {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, method, "http://"+plain.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		return res
	}
	for host, want := range map[string]string{
		"chat.example.test": "chat.example.test:" + port, "chat.example.test:8080": "chat.example.test:" + port, "[::1]:80": "[::1]:" + port, "[::1]": "[::1]:" + port,
	} {
		if res := ask("GET", host, "/a?b=c%2F"); res.StatusCode != 301 || res.Header.Get("Location") != "https://"+want+"/a?b=c%2F" {
			t.Errorf("GET of %s = %d to %q, want 301 to %s", host, res.StatusCode, res.Header.Get("Location"), want)
		}
	}
	if res := ask("POST", "chat.example.test", "/api/v1/auth/login"); res.StatusCode != 403 {
		t.Errorf("POST = %d, want 403", res.StatusCode)
	}

	usual := &Front{cfg: Config{Secure: &net.TCPAddr{Port: 443}}}
	for host, want := range map[string]string{"chat.example.test": "chat.example.test", "[::1]:80": "[::1]"} {
		w := &recorder{header: http.Header{}}
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "/x", nil)
		r.Host, r.RequestURI = host, "/x"
		usual.redirect(w, r)
		if got := w.header.Get("Location"); got != "https://"+want+"/x" {
			t.Errorf("beside port 443, %s is sent to %q, want https://%s/x", host, got, want)
		}
	}
}

type recorder struct{ header http.Header }

func (r *recorder) Header() http.Header       { return r.header }
func (*recorder) Write(b []byte) (int, error) { return len(b), nil }
func (*recorder) WriteHeader(int)             {}

// TestACME: certificates come from the authority by either challenge, before the first visitor asks, are kept for the next start, and are
// asked for the names of the setting alone.
func TestACME(t *testing.T) {
	for _, kind := range []string{"tls-alpn-01", "http-01"} {
		t.Run(kind, func(t *testing.T) {
			a := newAuthority(t, kind)
			cache := filepath.Join(t.TempDir(), "acme")
			cfg := func() Config {
				return Config{ACME: ACME{Domains: []string{"chat.example.test"}, Directory: a.URL + "/directory", Cache: cache}}
			}
			var log faulttest.Log
			start := func() (string, func()) {
				c := cfg()
				if kind == "http-01" {
					c.Plain = localhost(t)
				}
				return serve(t, c, log.Logger(), func(secure net.Listener) {
					a.mu.Lock()
					defer a.mu.Unlock()
					a.secure = secure.Addr().String()
					if c.Plain != nil {
						a.plain = c.Plain.Addr().String()
					}
				})
			}
			address, stop := start()
			for end := time.Now().Add(patience); !strings.Contains(log.String(), "certificate by ACME in use"); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("no certificate is fetched; the log: %s", log.String())
				}
			}
			first, _, err := shown(t, address, "CHAT.example.test", a.roots())
			if err != nil {
				t.Fatalf("a visitor: %v", err)
			}
			if _, _, err := shown(t, address, "other.example.test", a.roots()); err == nil {
				t.Error("another name has a certificate")
			}
			stop()
			address, _ = start()
			if second, _, err := shown(t, address, "chat.example.test", a.roots()); err != nil || !second.Equal(first) {
				t.Errorf("after a start: %v, want the certificate of before", err)
			}
			if got := a.orders(); !slices.Equal(got, []string{"chat.example.test"}) || !slices.Equal(a.used, []string{kind}) {
				t.Errorf("the authority was asked for %v by %v, want one certificate by %s", got, a.used, kind)
			}
			files, err := os.ReadDir(cache)
			if err != nil || len(files) == 0 {
				t.Fatalf("nothing is kept: %v", err)
			}
			for _, file := range files {
				if info, err := file.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s has the mode %v, want it closed to others", file.Name(), info.Mode())
				}
			}
		})
	}
}

// TestACMEFails: the log says why there is no certificate, without a visitor, and TLS goes on for want of one.
func TestACMEFails(t *testing.T) {
	a := newAuthority(t)
	a.down = true
	var log faulttest.Log
	address, _ := serve(t, Config{ACME: ACME{
		Domains: []string{"chat.example.test"}, Directory: a.URL + "/directory", Cache: t.TempDir(),
	}}, log.Logger(), nil)
	for end := time.Now().Add(patience); !strings.Contains(log.String(), "no certificate by ACME"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing is said; the log: %s", log.String())
		}
	}
	if _, _, err := shown(t, address, "chat.example.test", a.roots()); err == nil {
		t.Error("there is a certificate")
	}
	if strings.Contains(log.String(), "certificate by ACME in use") {
		t.Errorf("the log says that there is one: %s", log.String())
	}
}
