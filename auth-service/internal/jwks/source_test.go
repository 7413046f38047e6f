package jwks

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/issuers"
	"github.com/starling-chat/starling/proto/fault"
)

// provider is an issuer's web server.
type provider struct {
	url   string
	reads atomic.Int32

	mu     sync.Mutex
	keys   string // the key set
	status int
	issuer string // as the discovery document says
}

func newProvider(t *testing.T, keys string) *provider {
	t.Helper()
	p := &provider{keys: keys, status: http.StatusOK}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch {
		case r.URL.Path == "/away":
			http.Redirect(w, r, p.url+"/keys", http.StatusFound)
		case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
			_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, p.issuer, p.url+"/keys")
		default:
			p.reads.Add(1)
			w.WriteHeader(p.status)
			_, _ = w.Write([]byte(p.keys))
		}
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	p.issuer = server.URL
	return p
}

func (p *provider) say(keys string, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys, p.status = keys, status
}

func (p *provider) source(t *testing.T, cfg Config) *Source {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	if cfg.Refresh == 0 {
		cfg.Refresh = time.Hour
	}
	s := New(ctx, cfg)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	return s
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func edKey(t *testing.T, id string) (ed25519.PublicKey, string) {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}`, id, b64(public))
}

func keySet(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

func wantKey(t *testing.T, s *Source, id string, want ed25519.PublicKey) {
	t.Helper()
	got, err := s.Key(t.Context(), id, issuers.EdDSA)
	if err != nil || !want.Equal(got) {
		t.Errorf("Key(%s) = %v, %v, want %v", id, got, err, want)
	}
}

// TestRotationAndOutage: a new key is found by the first token that has it, what the issuer takes away is gone, and while it is away,
// or answers nonsense, what is known stays.
func TestRotationAndOutage(t *testing.T) {
	first, firstJSON := edKey(t, "1")
	second, secondJSON := edKey(t, "2")
	third, thirdJSON := edKey(t, "3")
	p := newProvider(t, keySet(firstJSON))
	s := p.source(t, Config{Issuer: p.url})
	wantKey(t, s, "1", first)

	p.say(keySet(firstJSON, secondJSON), http.StatusOK)
	wantKey(t, s, "2", second)
	wantKey(t, s, "1", first)

	for what, answer := range map[string]string{"nothing": "", "no JSON": "<html>", "no keys": keySet(), "keys of no use": keySet(`{"kty":"oct","k":"c2VjcmV0"}`)} {
		p.say(answer, http.StatusOK)
		if err := s.read(t.Context()); err == nil {
			t.Errorf("read() of %s = nil, want an error", what)
		}
		wantKey(t, s, "1", first)
	}
	p.say(keySet(thirdJSON), http.StatusServiceUnavailable)
	wantKey(t, s, "2", second)
	if _, err := s.Key(t.Context(), "3", issuers.EdDSA); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Key(unknown) while the issuer is away = %v, want %s", err, fault.Unavailable)
	}

	p.say(keySet(secondJSON, thirdJSON), http.StatusOK)
	wantKey(t, s, "3", third)
	wantKey(t, s, "2", second)
	if _, err := s.Key(t.Context(), "1", issuers.EdDSA); !errors.Is(err, issuers.ErrKey) {
		t.Errorf("Key(taken away) = %v, want %v", err, issuers.ErrKey)
	}
}

// TestUnknownKeysAreBounded: however many tokens with unknown keys come, the issuer is asked a few times.
func TestUnknownKeysAreBounded(t *testing.T) {
	_, key := edKey(t, "1")
	p := newProvider(t, keySet(key))
	s := p.source(t, Config{URL: p.url + "/keys"})
	began := time.Now()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			if _, err := s.Key(t.Context(), fmt.Sprint("unknown", i), issuers.EdDSA); !errors.Is(err, issuers.ErrKey) && fault.KindOf(err) != fault.Unavailable {
				t.Errorf("Key(unknown) = %v, want %v", err, issuers.ErrKey)
			}
		})
	}
	all.Wait()
	if _, err := s.Key(t.Context(), strings.Repeat("x", maxKeyID+1), issuers.EdDSA); !errors.Is(err, issuers.ErrKey) {
		t.Errorf("Key(endless) = %v, want %v", err, issuers.ErrKey)
	}
	most := bucketSize + 1 + int32(time.Since(began)/bucketRefill)
	if got := p.reads.Load(); got > most {
		t.Errorf("200 unknown keys had the issuer asked %d times, want at most %d", got, most)
	}
}

// TestKeysAreReadAgain: without any token, too; and soon when the first time failed.
func TestKeysAreReadAgain(t *testing.T) {
	_, key := edKey(t, "1")
	p := newProvider(t, "")
	results := make(chan error, 100)
	s := p.source(t, Config{Issuer: p.url, Refresh: 10 * time.Millisecond, Read: func(_ string, err error) { results <- err }})
	if err := <-results; err == nil {
		t.Error("the first read went well, want an error")
	}
	p.say(keySet(key), http.StatusOK)
	for err := range results {
		if err == nil {
			break
		}
	}
	other, otherKey := edKey(t, "2")
	p.say(keySet(otherKey), http.StatusOK)
	for deadline := time.Now().Add(30 * time.Second); ; {
		if _, ok := s.set.Load().find("2", issuers.EdDSA); ok {
			wantKey(t, s, "2", other)
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a new key was not found in 30s")
		}
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
}

func TestDiscovery(t *testing.T) {
	key, keyJSON := edKey(t, "1")
	p := newProvider(t, keySet(keyJSON))
	p.issuer = "https://id.example.com/realms/a"
	s := p.source(t, Config{Issuer: p.issuer, Discovery: p.url + "/.well-known/openid-configuration"})
	wantKey(t, s, "1", key)
	s = p.source(t, Config{Issuer: "https://other.example.com", Discovery: p.url + "/.well-known/openid-configuration"})
	if _, err := s.Key(t.Context(), "1", issuers.EdDSA); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "is of the issuer") {
		t.Errorf("Key() with the document of another issuer = %v, want %s", err, fault.Unavailable)
	}
	s = p.source(t, Config{Issuer: p.issuer, URL: p.url + "/away"})
	wantKey(t, s, "1", key)
	secure := httptest.NewTLSServer(http.RedirectHandler(p.url+"/keys", http.StatusFound))
	t.Cleanup(secure.Close)
	c := client{secure.Client()}
	c.http.CheckRedirect = newClient().http.CheckRedirect
	if _, err := c.get(t.Context(), secure.URL); err == nil || !strings.Contains(err.Error(), "redirected from https") {
		t.Errorf("get() redirected to http = %v, want an error", err)
	}
}

func TestParse(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := point.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	n, e := b64(private.N.Bytes()), b64(big.NewInt(int64(private.E)).Bytes())
	x, y := b64(raw[1:33]), b64(raw[33:])
	_, ed := edKey(t, "ed")
	jwk := func(pairs ...string) string {
		m := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		raw, _ := json.Marshal(m)
		return string(raw)
	}
	s, err := parse([]byte(keySet(
		jwk("kty", "RSA", "kid", "rsa", "use", "sig", "alg", "RS256", "n", n, "e", e),
		jwk("kty", "EC", "kid", "ec", "crv", "P-256", "x", x, "y", y), ed,
		jwk("kty", "RSA", "kid", "enc", "use", "enc", "alg", "RSA-OAEP", "n", n, "e", e),
		jwk("kty", "RSA", "kid", "ps", "alg", "PS256", "n", n, "e", e),
		jwk("kty", "RSA", "kid", "short", "n", b64(private.N.Bytes()[:100]), "e", e),
		jwk("kty", "RSA", "kid", "one", "n", n, "e", b64([]byte{1})),
		jwk("kty", "EC", "kid", "p384", "crv", "P-384", "x", x, "y", y),
		jwk("kty", "EC", "kid", "off", "crv", "P-256", "x", x, "y", x),
		jwk("kty", "OKP", "kid", "x25519", "crv", "X25519", "x", x),
		jwk("kty", "oct", "kid", "oct", "alg", "HS256", "k", "c2VjcmV0"),
		`{"kty":"RSA","kid":"ops","key_ops":["sign"],"n":"`+n+`","e":"`+e+`"}`,
		`{"kty":7}`, `null`, `"key"`,
	)))
	if err != nil {
		t.Fatal(err)
	}
	if s.skipped != 12 || len(s.keys) != 3 {
		t.Errorf("parse() = %d keys, %d skipped, want 3, 12", len(s.keys), s.skipped)
	}
	for id, want := range map[string]struct {
		algorithm string
		key       interface{ Equal(crypto.PublicKey) bool }
	}{"rsa": {issuers.RS256, &private.PublicKey}, "ec": {issuers.ES256, &point.PublicKey}} {
		if got, ok := s.find(id, want.algorithm); !ok || !want.key.Equal(got) {
			t.Errorf("find(%s) = %v, %v, want the key", id, got, ok)
		}
		if got, ok := s.find("", want.algorithm); !ok || !want.key.Equal(got) {
			t.Errorf("find(the only one for %s) = %v, %v, want the key", want.algorithm, got, ok)
		}
		if got, ok := s.find(id, issuers.EdDSA); ok {
			t.Errorf("find(%s for EdDSA) = %v, want none", id, got)
		}
	}
	_, another := edKey(t, "other")
	if two, err := parse([]byte(keySet(ed, another))); err != nil {
		t.Error(err)
	} else if _, ok := two.find("", issuers.EdDSA); ok {
		t.Error("find(without kid among two) found one, want none")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, err := parse(raw); err == nil && (len(s.keys) == 0 || !s.same(s)) {
			t.Errorf("parse(%q) = %v, want a key", raw, s)
		}
	})
}
