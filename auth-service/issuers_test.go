package authservice

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/starling-chat/starling/platform/porttest"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// realm is an identity provider as Keycloak is one: discovery, RS256, keys that rotate. It can be away.
type realm struct {
	t      *testing.T
	issuer string

	mu   sync.Mutex
	keys []realmKey // the last one signs
	away bool
}

type realmKey struct {
	id      string
	private *rsa.PrivateKey
}

func newRealm(t *testing.T) *realm {
	t.Helper()
	r := &realm{t: t}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.issuer = server.URL + "/realms/acme"
	r.rotate()
	return r
}

// rotate signs with a new key from now on; the one before stays published.
func (r *realm) rotate() {
	r.t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = append(r.keys[max(0, len(r.keys)-1):], realmKey{id: fmt.Sprintf("key-%d", time.Now().UnixNano()), private: private})
}

func (r *realm) goAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

func (r *realm) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		panic(http.ErrAbortHandler)
	}
	switch q.URL.Path {
	case "/realms/acme/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": r.issuer, "jwks_uri": r.issuer + "/protocol/openid-connect/certs", "id_token_signing_alg_values_supported": []string{"RS256"}})
	case "/realms/acme/protocol/openid-connect/certs":
		keys := []map[string]any{{"kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "kid": "enc", "n": "AQAB", "e": "AQAB"}}
		for _, k := range r.keys {
			keys = append(keys, map[string]any{
				"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id, "x5c": []string{"MIIC"}, "x5t": "x",
				"n": base64.RawURLEncoding.EncodeToString(k.private.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.private.E)).Bytes()),
			})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	default:
		http.NotFound(w, q)
	}
}

// token signs an access token of a user, as Keycloak makes them; changes are claims, nil removes.
func (r *realm) token(sub string, changes map[string]any) string {
	r.t.Helper()
	r.mu.Lock()
	key := r.keys[len(r.keys)-1]
	r.mu.Unlock()
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": r.issuer, "aud": []string{"chat", "account"}, "sub": sub, "typ": "Bearer", "azp": "web", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"jti": "j", "scope": "openid profile", "preferred_username": sub, "name": "Ann of Acme", "picture": "https://acme.test/ann.png",
		"realm_access": map[string]any{"roles": []string{"offline_access", "uma_authorization"}},
	}
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = key.id
	signed, err := token.SignedString(key.private)
	if err != nil {
		r.t.Fatal(err)
	}
	return signed
}

// TestTokenIssuer: tokens of an identity provider work like our own, while its keys rotate and while it is away.
func TestTokenIssuer(t *testing.T) {
	s := newSystem(t)
	r := newRealm(t)
	cfg := s.config(t)
	cfg.External.Issuers = settings.Secret(fmt.Sprintf(`[{"issuer":%q,"audience":"chat","algorithms":["RS256"],"userPrefix":"acme:",
		"claims":{"role":"realm_access.roles","rooms":"rooms"},"adminRole":"chat-admin"}]`, r.issuer))
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	log := new(records)
	conn := launchWith(t, cfg, slog.New(slog.NewJSONHandler(log, nil)))
	waitReady(t, conn)
	client := authv1.NewAuthServiceClient(conn)

	identity, err := authenticate(t, client, r.token("ann", map[string]any{"rooms": []any{map[string]any{"match": "order-*", "can": []string{"join", "read"}}}}))
	if err != nil || identity.GetUserId() != "acme:ann" || identity.GetName() != "Ann of Acme" || identity.GetRole() != "user" ||
		identity.GetAvatarUrl() != "https://acme.test/ann.png" || identity.GetLoginId() != "" || identity.GetExpiresAt() == nil ||
		len(identity.GetRooms()) != 1 || identity.GetRooms()[0].GetMatch() != "order-*" || !slices.Equal(identity.GetRooms()[0].GetCan(), []string{"join", "read"}) {
		t.Errorf("Authenticate() = %v, %v, want acme:ann with name, picture and rooms", identity, err)
	}
	admin := map[string]any{"realm_access": map[string]any{"roles": []string{"chat-admin"}}}
	if identity, err = authenticate(t, client, r.token("bob", admin)); err != nil || identity.GetRole() != "admin" {
		t.Errorf("Authenticate(admin) = %v, %v, want the role admin", identity, err)
	}
	if identity, err = authenticate(t, client, r.token("bob", map[string]any{"realm_access": nil})); err != nil || identity.GetRole() != "user" {
		t.Errorf("Authenticate(admin no longer) = %v, %v, want the role user", identity, err)
	}

	before := r.token("ann", nil)
	r.rotate()
	for what, token := range map[string]string{"of the new key": r.token("ann", nil), "of the key before": before} {
		if _, err := authenticate(t, client, token); err != nil {
			t.Errorf("Authenticate(%s) after a rotation = %v, want nil", what, err)
		}
	}
	r.goAway(true)
	if _, err := authenticate(t, client, r.token("cem", nil)); err != nil {
		t.Errorf("Authenticate(known key) while the issuer is away = %v, want nil", err)
	}
	r.rotate()
	unread := r.token("ann", nil)
	_, err = authenticate(t, client, unread)
	wantFault(t, "Authenticate(unread key) while the issuer is away", err, fault.Unavailable, "")
	r.goAway(false)
	if _, err := authenticate(t, client, unread); err != nil {
		t.Errorf("Authenticate(unread key) once the issuer is back = %v, want nil", err)
	}

	for what, changes := range map[string]map[string]any{
		"of another audience": {"aud": "account"}, "issued in the future": {"iat": time.Now().Add(time.Hour).Unix()},
		"whose sub is a list": {"sub": []string{"ann"}}, "of another issuer": {"iss": r.issuer + "/"}, "that never ends": {"exp": nil},
	} {
		_, err := authenticate(t, client, r.token("ann", changes))
		wantFault(t, "Authenticate("+what+")", err, fault.Unauthenticated, "Invalid token")
	}
	if found := log.events(t, "token", "failed"); len(found) == 0 {
		t.Error("the log has no token that failed")
	}
	if text := log.text(); strings.Contains(text, strings.Split(unread, ".")[2]) {
		t.Error("the log has a token's signature")
	}
}

// TestIssuersKeepUsersApart: an issuer cannot speak for a user who registered here, unless the operator says that ids are shared.
func TestIssuersKeepUsersApart(t *testing.T) {
	s := newSystem(t)
	r := newRealm(t)
	cfg := s.config(t)
	cfg.External.Secret = ""
	cfg.External.Issuers = settings.Secret(fmt.Sprintf(`{"issuer":%q,"audience":"chat"}`, r.issuer))
	client := start(t, cfg)
	ann := register(t, client, "ann").GetUser().GetId()
	_, err := authenticate(t, client, r.token(ann, nil))
	wantFault(t, "Authenticate(another issuer's token for a user who registered here)", err, fault.Unauthenticated, "Invalid token")

	cfg.RPC.Listen = porttest.Reserve(t)
	cfg.External.Issuers = settings.Secret(fmt.Sprintf(`{"issuer":%q,"audience":"chat","shareUsers":true}`, r.issuer))
	shared := start(t, cfg)
	if identity, err := authenticate(t, shared, r.token(ann, nil)); err != nil || identity.GetUserId() != ann {
		t.Errorf("Authenticate(of a shared user) = %v, %v, want %s", identity, err, ann)
	}

	cfg.RPC.Listen = porttest.Reserve(t)
	cfg.External.Issuers = settings.Secret(fmt.Sprintf(`{"issuer":%q,"audience":"chat","provision":false}`, r.issuer))
	strict := start(t, cfg)
	_, err = authenticate(t, strict, r.token("nobody", nil))
	wantFault(t, "Authenticate(unknown user, provision false)", err, fault.Unauthenticated, "User not found")
}

// TestDocumentedIssuers: the example of docs/operations/secure.md is taken.
func TestDocumentedIssuers(t *testing.T) {
	text, err := os.ReadFile("../docs/operations/secure.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```json\n")
	example, _, found := strings.Cut(rest, "```")
	var cfg Config
	if err := settings.Parse("auth-service", "", &cfg, []string{"--token-issuers=" + example}); err != nil || !found {
		t.Errorf("Parse(%s) = %v, want nil", example, err)
	}
}

func TestValidateIssuers(t *testing.T) {
	const secret = `0123456789abcdef0123456789abcdef`
	for value, want := range map[string]string{
		``:   "",
		`[]`: "",
		`[{"issuer":"https://id.test/realms/a","audience":["a","b"]}]`:                          "",
		`{"issuer":"https://id.test","jwksUrl":"https://id.test/keys","claims":{"id":"email"}}`: "",
		`{"issuer":"crm","secret":"` + secret + `"}`:                                            "",
		`{"issuer":"crm"}`: "jwksUrl",
		`{"audience":"a"}`: "issuer",
		`{"issuer":"starling","secret":"` + secret + `"}`:                   "TOKEN_ISSUER",
		`{"issuer":"crm","secret":"hush"}`:                                  "32 bytes",
		`{"issuer":"crm","secret":"` + secret + `","algorithms":["RS256"]}`: "RS256",
		`{"issuer":"https://id.test","algorithms":["HS256"]}`:               "secret",
		`{"issuer":"https://id.test","algorithms":["none"]}`:                "algorithm",
		`{"issuer":"https://id.test","jwksUrl":"id.test/keys"}`:             "jwksUrl",
		`{"issuer":"https://id.test","discoveryUrl":"ftp://id.test"}`:       "discoveryUrl",
		`{"issuer":"https://id.test","jwks":"https://id.test/keys"}`:        "jwks",
		`{"issuer":7}`:                  "issuer",
		`[{"issuer":"https://id.test"}`: "JSON",
		`https://id.test`:               "JSON",
		`[{"issuer":"https://a.test"},{"issuer":"https://b.test"}]`:                   "userPrefix",
		`[{"issuer":"https://a.test"},{"issuer":"https://a.test"}]`:                   "twice",
		`[{"issuer":"https://a.test","userPrefix":"a:"},{"issuer":"https://b.test"}]`: "",
	} {
		var cfg Config
		err := settings.Parse("auth-service", "", &cfg, []string{"--token-issuers=" + value})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "TOKEN_ISSUERS")) {
			t.Errorf("Parse(%s) = %v, want one line with %q", value, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("Parse(%s) = %v, which shows the secret", value, err)
		}
	}
}
