package https

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

// authority is an ACME directory (RFC 8555) that gives certificates for what it finds at two addresses, whatever the name in them. It
// believes what it is told and does not look at signatures.
type authority struct {
	*httptest.Server
	t     *testing.T
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	kinds []string // of challenges that it offers

	mu      sync.Mutex // guards what follows
	secure  string     // where it looks by tls-alpn-01
	plain   string     // where it looks by http-01
	down    bool
	domains []string // one for each order
	valid   map[string]bool
	issued  map[string][]byte // PEM, by order
	used    []string          // kinds of challenges that went well
}

func newAuthority(t *testing.T, kinds ...string) *authority {
	t.Helper()
	a := &authority{t: t, kinds: kinds, valid: map[string]bool{}, issued: map[string][]byte{}}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	a.cert = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "authority of a test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, &a.key.PublicKey)
	mux := http.NewServeMux()
	mux.HandleFunc("/directory", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, map[string]string{"newNonce": a.URL + "/nonce", "newAccount": a.URL + "/account", "newOrder": a.URL + "/order"})
	})
	mux.HandleFunc("/nonce", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/account", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", a.URL+"/account/1")
		answer(w, 201, map[string]string{"status": "valid"})
	})
	mux.HandleFunc("/order", a.order)
	mux.HandleFunc("/order/{id}", func(w http.ResponseWriter, r *http.Request) { a.tell(w, 200, r.PathValue("id")) })
	mux.HandleFunc("/authz/{id}", a.authorization)
	mux.HandleFunc("/challenge/{id}/{kind}", a.challenge)
	mux.HandleFunc("/finalize/{id}", a.finalize)
	mux.HandleFunc("/cert/{id}", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		_, _ = w.Write(a.issued[r.PathValue("id")])
	})
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		down := a.down
		a.mu.Unlock()
		if down {
			answer(w, 403, map[string]string{"type": "urn:ietf:params:acme:error:unauthorized", "detail": "closed today"})
			return
		}
		w.Header().Set("Replay-Nonce", rand.Text())
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// payload is what a signed request says.
func payload(r *http.Request, into any) {
	var signed struct{ Payload string }
	_ = json.NewDecoder(r.Body).Decode(&signed)
	raw, _ := base64.RawURLEncoding.DecodeString(signed.Payload)
	_ = json.Unmarshal(raw, into)
}

func (a *authority) order(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Identifiers []struct{ Value string } }
	payload(r, &asked)
	a.mu.Lock()
	a.domains = append(a.domains, asked.Identifiers[0].Value)
	id := fmt.Sprint(len(a.domains))
	a.mu.Unlock()
	w.Header().Set("Location", a.URL+"/order/"+id)
	a.tell(w, 201, id)
}

// tell answers with an order.
func (a *authority) tell(w http.ResponseWriter, status int, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	order := map[string]any{
		"status": "pending", "identifiers": []map[string]string{{"type": "dns", "value": a.domainLocked(id)}},
		"authorizations": []string{a.URL + "/authz/" + id}, "finalize": a.URL + "/finalize/" + id,
	}
	switch {
	case a.issued[id] != nil:
		order["status"], order["certificate"] = "valid", a.URL+"/cert/"+id
	case a.valid[id]:
		order["status"] = "ready"
	}
	answer(w, status, order)
}

func (a *authority) domainLocked(id string) string {
	var n int
	_, _ = fmt.Sscan(id, &n)
	return a.domains[n-1]
}

func (a *authority) authorization(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	a.mu.Lock()
	defer a.mu.Unlock()
	status := "pending"
	if a.valid[id] {
		status = "valid"
	}
	var challenges []map[string]string
	for _, kind := range a.kinds {
		challenges = append(challenges, map[string]string{"type": kind, "url": a.URL + "/challenge/" + id + "/" + kind, "token": "token" + id, "status": status})
	}
	answer(w, 200, map[string]any{"status": status, "identifier": map[string]string{"type": "dns", "value": a.domainLocked(id)}, "challenges": challenges})
}

func (a *authority) challenge(w http.ResponseWriter, r *http.Request) {
	id, kind := r.PathValue("id"), r.PathValue("kind")
	a.mu.Lock()
	domain, secure, plain := a.domainLocked(id), a.secure, a.plain
	a.mu.Unlock()
	err := a.lookAt(r, kind, domain, "token"+id, secure, plain)
	if err != nil {
		a.t.Errorf("%s for %s: %v", kind, domain, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.valid[id], a.used = true, append(a.used, kind)
	}
	answer(w, 200, map[string]string{"type": kind, "url": a.URL + r.URL.Path, "token": "token" + id, "status": "processing"})
}

var identifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31} // RFC 8737

// lookAt does what shows that a domain belongs to who asks.
func (a *authority) lookAt(r *http.Request, kind, domain, token, secure, plain string) error {
	if kind == "http-01" {
		get, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+plain+"/.well-known/acme-challenge/"+token, nil)
		if err != nil {
			return err
		}
		get.Host = domain
		res, err := http.DefaultClient.Do(get)
		if err != nil {
			return err
		}
		defer res.Body.Close() //nolint:errcheck // read to its end
		if said, err := io.ReadAll(res.Body); err != nil || !strings.HasPrefix(string(said), token+".") {
			return fmt.Errorf("it says %q, %w", said, err)
		}
		return nil
	}
	dialer := tls.Dialer{Config: &tls.Config{ServerName: domain, NextProtos: []string{acme.ALPNProto}, InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(r.Context(), "tcp", secure)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // a test
	state := conn.(*tls.Conn).ConnectionState()
	shown := state.PeerCertificates[0]
	if state.NegotiatedProtocol != acme.ALPNProto || !slices.Equal(shown.DNSNames, []string{domain}) ||
		!slices.ContainsFunc(shown.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(identifier) && e.Critical }) {
		return fmt.Errorf("it shows %v by %q", shown.DNSNames, state.NegotiatedProtocol)
	}
	return nil
}

func (a *authority) finalize(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	var asked struct{ CSR string }
	payload(r, &asked)
	raw, _ := base64.RawURLEncoding.DecodeString(asked.CSR)
	request, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		a.t.Errorf("a request for a certificate cannot be read: %v", err)
		return
	}
	cert := a.sign(&x509.Certificate{DNSNames: request.DNSNames, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, a.cert, request.PublicKey)
	a.mu.Lock()
	a.issued[id] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	a.mu.Unlock()
	a.tell(w, 200, id)
}

func (a *authority) sign(template, parent *x509.Certificate, key any) *x509.Certificate {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = serial, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour)
	if parent == nil {
		parent = template
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// orders are the domains for which certificates were asked.
func (a *authority) orders() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.domains)
}

// roots are what believes its certificates.
func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// localhost listens on a free port.
func localhost(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
