package issuers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/proto/fault"
)

// keyring is Keys by kid and algorithm.
type keyring map[string]crypto.PublicKey

func (k keyring) Key(_ context.Context, id, algorithm string) (crypto.PublicKey, error) {
	if id == "away" {
		return nil, fault.New(fault.Unavailable, "Service unavailable")
	}
	if key, ok := k[id+" "+algorithm]; ok {
		return key, nil
	}
	return nil, ErrKey
}

const secret = "a secret of 32 bytes or more, really"

type signers struct {
	rsa     *rsa.PrivateKey
	ecdsa   *ecdsa.PrivateKey
	ed25519 ed25519.PrivateKey
}

func newSigners(t *testing.T) (s signers, keys keyring) {
	t.Helper()
	var err error
	if s.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if s.ecdsa, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, s.ed25519, err = ed25519.GenerateKey(nil); err != nil {
		t.Fatal(err)
	}
	return s, keyring{"r RS256": s.rsa.Public(), "e ES256": s.ecdsa.Public(), "d EdDSA": s.ed25519.Public()}
}

func sign(t *testing.T, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	maps.Copy(token.Header, header)
	maps.DeleteFunc(token.Header, func(_ string, v any) bool { return v == nil })
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// with copies m and changes it; nil removes.
func with(m map[string]any, changes map[string]any) map[string]any {
	m = maps.Clone(m)
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func TestVerify(t *testing.T) {
	own, keys := newSigners(t)
	stranger, _ := newSigners(t)
	set, err := New([]Issuer{
		{Name: "https://id.test", Audiences: []string{"chat", "web"}, Algorithms: []string{RS256, ES256, EdDSA}, Keys: keys, RequireExp: true},
		{Name: "https://only-rs.test", Algorithms: []string{RS256}, Keys: keys, RequireExp: true, UserPrefix: "rs:"},
		{Name: "backend", Algorithms: []string{HS256}, Secret: secret, UserPrefix: "b:"},
	}, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims := map[string]any{"iss": "https://id.test", "aud": "chat", "sub": "ann", "exp": now.Add(time.Minute).Unix(), "iat": now.Unix()}
	change := func(key string, value any) map[string]any { return with(claims, map[string]any{key: value}) }
	kid := func(id any) map[string]any { return map[string]any{"kid": id} }
	rs := func(header, claims map[string]any) string {
		t.Helper()
		return sign(t, jwt.SigningMethodRS256, own.rsa, with(kid("r"), header), claims)
	}
	public, err := x509.MarshalPKIXPublicKey(own.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	published := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	noAudience := change("aud", nil)
	for _, tc := range []struct {
		name, token string
		want        error // nil: good
	}{
		{"RS256", rs(nil, claims), nil},
		{"ES256", sign(t, jwt.SigningMethodES256, own.ecdsa, kid("e"), claims), nil},
		{"EdDSA", sign(t, jwt.SigningMethodEdDSA, own.ed25519, kid("d"), claims), nil},
		{"HS256 of another issuer", sign(t, jwt.SigningMethodHS256, []byte(secret), nil, with(noAudience, map[string]any{"iss": "backend"})), nil},
		{"the second audience, among others", rs(nil, change("aud", []string{"x", "web"})), nil},
		{"type of RFC 9068", rs(map[string]any{"typ": "application/at+JWT"}, claims), nil},
		{"without type", rs(map[string]any{"typ": nil}, claims), nil},
		{"expired within the leeway", rs(nil, change("exp", now.Add(-20*time.Second).Unix())), nil},
		{"integer as sub", rs(nil, change("sub", 42)), nil},
		{"header that points at keys", rs(map[string]any{"jku": "https://evil.test/keys", "x5u": "https://evil.test"}, claims), nil},

		{"HS256 with the public key in PEM", sign(t, jwt.SigningMethodHS256, published, kid("r"), claims), ErrAlgorithm},
		{"HS256 with the modulus", sign(t, jwt.SigningMethodHS256, own.rsa.N.Bytes(), kid("r"), claims), ErrAlgorithm},
		{"HS256 with the backend's secret", sign(t, jwt.SigningMethodHS256, []byte(secret), nil, claims), ErrAlgorithm},
		{"HS256 with the Ed25519 key", sign(t, jwt.SigningMethodHS256, []byte(own.ed25519.Public().(ed25519.PublicKey)), kid("d"), claims), ErrAlgorithm},
		{"RS256 that says it is the backend's", rs(nil, with(noAudience, map[string]any{"iss": "backend"})), ErrAlgorithm},
		{"an algorithm that this issuer does not use", sign(t, jwt.SigningMethodES256, own.ecdsa, kid("e"), with(noAudience, map[string]any{"iss": "https://only-rs.test"})), ErrAlgorithm},
		{"RS512", sign(t, jwt.SigningMethodRS512, own.rsa, kid("r"), claims), ErrAlgorithm},
		{"PS256", sign(t, jwt.SigningMethodPS256, own.rsa, kid("r"), claims), ErrAlgorithm},
		{"none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid("r"), claims), ErrAlgorithm},
		{"ES256 under the RSA key's kid", sign(t, jwt.SigningMethodES256, own.ecdsa, kid("r"), claims), ErrKey},
		{"a stranger's key under a known kid", sign(t, jwt.SigningMethodRS256, stranger.rsa, kid("r"), claims), jwt.ErrTokenSignatureInvalid},
		{"a stranger's key in the header", sign(t, jwt.SigningMethodRS256, stranger.rsa, map[string]any{"kid": "r", "jwk": map[string]any{"kty": "RSA"}}, claims), jwt.ErrTokenSignatureInvalid},
		{"an unknown kid", rs(kid("../../dev/null"), claims), ErrKey},
		{"a kid of SQL", rs(kid("' UNION SELECT 'x"), claims), ErrKey},
		{"a kid that is a number", rs(kid(7), claims), ErrKey},
		{"a kid that is a list", rs(kid([]string{"r"}), claims), ErrKey},
		{"a kid that is an object", rs(kid(map[string]any{"r": "r"}), claims), ErrKey},
		{"without a kid", rs(kid(nil), claims), ErrKey},
		{"critical extensions", rs(map[string]any{"crit": []string{"exp"}}, claims), errCritical},
		{"an ID token by its type", rs(map[string]any{"typ": "id+jwt"}, claims), ErrType},
		{"a logout token", rs(map[string]any{"typ": "logout+jwt"}, claims), ErrType},
		{"a type that is no text", rs(map[string]any{"typ": 1}, claims), ErrType},
		{"another issuer", rs(nil, change("iss", "https://id.test/")), ErrIssuer},
		{"no issuer", rs(nil, change("iss", nil)), ErrIssuer},
		{"an issuer that is a list", rs(nil, change("iss", []string{"https://id.test"})), ErrIssuer},
		{"another audience", rs(nil, change("aud", "account")), jwt.ErrTokenInvalidAudience},
		{"no audience", rs(nil, noAudience), jwt.ErrTokenRequiredClaimMissing},
		{"an empty list of audiences", rs(nil, change("aud", []string{})), jwt.ErrTokenInvalidClaims},
		{"an audience although none is configured", rs(nil, change("iss", "https://only-rs.test")), ErrAudience},
		{"expired", rs(nil, change("exp", now.Add(-time.Minute).Unix())), jwt.ErrTokenExpired},
		{"never expires", rs(nil, change("exp", nil)), jwt.ErrTokenRequiredClaimMissing},
		{"EXP instead of exp", rs(nil, with(claims, map[string]any{"exp": nil, "EXP": now.Add(time.Minute).Unix()})), jwt.ErrTokenRequiredClaimMissing},
		{"expires as text", rs(nil, change("exp", "2099")), errDate},
		{"issued in the future", rs(nil, change("iat", now.Add(time.Minute).Unix())), jwt.ErrTokenUsedBeforeIssued},
		{"issued at the end of times", rs(nil, change("iat", json.RawMessage("1e300"))), errDate},
		{"expires at the end of times", rs(nil, change("exp", json.RawMessage("1e300"))), errDate},
		{"issued before times", rs(nil, change("iat", -1)), errDate},
		{"not yet valid", rs(nil, change("nbf", now.Add(time.Minute).Unix())), jwt.ErrTokenNotValidYet},
		{"no sub", rs(nil, change("sub", nil)), ErrNoSubject},
		{"an empty sub", rs(nil, change("sub", "")), ErrNoSubject},
		{"a sub that is a list", rs(nil, change("sub", []string{"ann"})), ErrSubjectForm},
		{"a sub that is an object", rs(nil, change("sub", map[string]any{"id": "ann"})), ErrSubjectForm},
		{"a sub that is true", rs(nil, change("sub", true)), ErrSubjectForm},
		{"a sub that is a fraction", rs(nil, change("sub", 4.2)), ErrSubjectForm},
		{"no dots", "garbage", ErrAlgorithm},
		{"dots", "..", ErrAlgorithm},
		{"nothing", "", ErrAlgorithm},
	} {
		got, err := set.Verify(t.Context(), tc.token)
		if !errors.Is(err, tc.want) || tc.want == nil && err != nil || tc.want == nil && got.Subject == "" {
			t.Errorf("%s: Verify() = %+v, %v, want %v", tc.name, got, err, tc.want)
		}
	}
	if _, err := set.Verify(t.Context(), rs(kid("away"), claims)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Verify() while the keys cannot be read = %v, want %s", err, fault.Unavailable)
	}
	if _, err := (*Set)(nil).Verify(t.Context(), rs(nil, claims)); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("Verify() without issuers = %v, want %v", err, ErrAlgorithm)
	}
}

func TestClaims(t *testing.T) {
	set, err := New([]Issuer{
		{Name: "plain", Algorithms: []string{HS256}, Secret: secret, UserPrefix: "p:"},
		{Name: "mapped", Algorithms: []string{HS256}, Secret: secret, UserPrefix: "m:", AdminRole: "chat-admin", Claims: Claims{
			ID: "preferred_username", Name: "profile.given", Picture: "https://example.com/avatar", Role: "realm_access.roles", Rooms: "r",
		}},
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	long := "https://example.com/" + strings.Repeat("x", 2048)
	grant := func(match string, can ...string) map[string]any { return map[string]any{"match": match, "can": can} }
	for _, tc := range []struct {
		name   string
		claims map[string]any
		want   Token
	}{
		{"usual places", map[string]any{
			"iss": "plain", "sub": "ann", "name": " Ann\u202e ", "picture": "https://example.com/a.png", "role": "admin",
			"starling": map[string]any{"rooms": []any{grant("order-42-*", "send", "join", "join"), grant("y", "read")}},
		}, Token{
			Subject: "p:ann", Name: "Ann", Picture: "https://example.com/a.png", Role: "admin",
			Rooms: []Grant{{"order-42-*", []string{"join", "send"}}, {"y", []string{"read"}}},
		}},
		{"other places", map[string]any{
			"iss": "mapped", "sub": "f:1:2", "preferred_username": "ann", "profile": map[string]any{"given": "Ann"}, "name": "wrong",
			"https://example.com/avatar": "http://example.com/b", "realm_access": map[string]any{"roles": []string{"offline", "chat-admin"}},
			"role": "user", "r": []any{grant("lobby", "read")},
		}, Token{Subject: "m:ann", Name: "Ann", Picture: "http://example.com/b", Role: "admin", Rooms: []Grant{{"lobby", []string{"read"}}}}},
		{"the admin of others", map[string]any{"iss": "mapped", "preferred_username": "ann", "realm_access": map[string]any{"roles": []string{"admin"}}}, Token{Subject: "m:ann", Role: "user"}},
		{"a claim whose name has dots goes first", map[string]any{
			"iss": "mapped", "preferred_username": 7, "realm_access.roles": "chat-admin", "realm_access": map[string]any{"roles": "x"},
		}, Token{Subject: "m:7", Role: "admin"}},
		{"odd forms", map[string]any{
			"iss": "plain", "sub": 1, "name": 7, "picture": "javascript:alert(1)", "role": map[string]any{}, "starling": "rooms",
		}, Token{Subject: "p:1"}},
		{"an endless picture", map[string]any{"iss": "plain", "sub": "ann", "picture": long}, Token{Subject: "p:ann"}},
		{"a picture with a password", map[string]any{"iss": "plain", "sub": "ann", "picture": "https://u:p@example.com"}, Token{Subject: "p:ann"}},
	} {
		got, err := set.Verify(t.Context(), sign(t, jwt.SigningMethodHS256, []byte(secret), nil, tc.claims))
		got.Issuer = nil
		if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
			t.Errorf("%s: Verify() = %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
	// A sub that cannot be one is refused also where ids stand elsewhere.
	token := sign(t, jwt.SigningMethodHS256, []byte(secret), nil, map[string]any{"iss": "mapped", "preferred_username": "ann", "sub": []int{1}})
	if _, err := set.Verify(t.Context(), token); !errors.Is(err, ErrSubjectForm) {
		t.Errorf("Verify(odd sub) = %v, want %v", err, ErrSubjectForm)
	}
}

// TestRooms has a token refused whose claim of rooms says something else than rooms, whatever it is.
func TestRooms(t *testing.T) {
	set, err := New([]Issuer{{Name: "plain", Algorithms: []string{HS256}, Secret: secret}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := []Grant{{"a", []string{"join", "read", "send"}}}
	for _, tc := range []struct {
		rooms string // JSON
		want  []Grant
		err   error
	}{
		{`null`, nil, nil},
		{`[]`, nil, nil},
		{`[{"match":"a","can":["send","read","join","send"],"note":1}]`, all, nil},
		{`[{"match":"*a*/é ü*","can":["read"]}]`, []Grant{{"*a*/é ü*", []string{"read"}}}, nil},
		{`[` + strings.Repeat(`{"match":"a","can":["read"]},`, 99) + `{"match":"a","can":["read"]}]`, slices.Repeat([]Grant{{"a", []string{"read"}}}, 100), nil},

		{`[` + strings.Repeat(`{"match":"a","can":["read"]},`, 100) + `{"match":"a","can":["read"]}]`, nil, ErrRoomsCount},
		{`"order-*"`, nil, ErrRoomsForm},
		{`true`, nil, ErrRoomsForm},
		{`{"match":"a","can":["join"]}`, nil, ErrRoomsForm},
		{`["a"]`, nil, ErrRoomsForm},
		{`[null]`, nil, ErrRoomsForm},
		{`[[]]`, nil, ErrRoomsForm},
		{`[{"can":["join"]}]`, nil, ErrRoomsMatch},
		{`[{"match":"","can":["join"]}]`, nil, ErrRoomsMatch},
		{`[{"match":7,"can":["join"]}]`, nil, ErrRoomsMatch},
		{`[{"Match":"a","can":["join"]}]`, nil, ErrRoomsMatch},
		{`[{"match":"a\u0000","can":["join"]}]`, nil, ErrRoomsMatch},
		{`[{"match":"` + strings.Repeat("a", 129) + `","can":["join"]}]`, nil, ErrRoomsMatch},
		{`[{"match":"a"}]`, nil, ErrRoomsCan},
		{`[{"match":"a","can":null}]`, nil, ErrRoomsCan},
		{`[{"match":"a","can":[]}]`, nil, ErrRoomsCan},
		{`[{"match":"a","can":"join"}]`, nil, ErrRoomsCan},
		{`[{"match":"a","can":["join","own"]}]`, nil, ErrRoomsCan},
		{`[{"match":"a","can":["JOIN"]}]`, nil, ErrRoomsCan},
		{`[{"match":"a","can":[1]}]`, nil, ErrRoomsCan},
		{`[{"match":"a","can":["join"]},{"match":"b","can":["jion"]}]`, nil, ErrRoomsCan},
	} {
		token := sign(t, jwt.SigningMethodHS256, []byte(secret), nil, map[string]any{
			"iss": "plain", "sub": "ann", "starling": map[string]any{"rooms": json.RawMessage(tc.rooms)},
		})
		got, err := set.Verify(t.Context(), token)
		if diff := cmp.Diff(tc.want, got.Rooms); !errors.Is(err, tc.err) || diff != "" {
			t.Errorf("Verify(rooms %s) = %v, want %v (-want +got):\n%s", tc.rooms, err, tc.err, diff)
		}
	}
}

// TestSecretIsReplaced: tokens of both secrets are good while one replaces the other.
func TestSecretIsReplaced(t *testing.T) {
	next := "the secret that comes next, 32 bytes or more"
	for _, tc := range []struct {
		issuer Issuer
		good   []string
		bad    []string
	}{
		{Issuer{Algorithms: []string{HS256}, Secret: secret}, []string{secret}, []string{next}},
		{Issuer{Algorithms: []string{HS256}, Secret: secret, OtherSecret: next}, []string{secret, next}, []string{"a third secret of 32 bytes or more"}},
		{Issuer{Algorithms: []string{HS256}, Secret: next, OtherSecret: secret}, []string{secret, next}, []string{""}},
	} {
		set, err := New([]Issuer{tc.issuer}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range append(tc.good, tc.bad...) {
			_, err := set.Verify(t.Context(), sign(t, jwt.SigningMethodHS256, []byte(key), nil, map[string]any{"sub": "ann"}))
			if want := slices.Contains(tc.good, key); (err == nil) != want {
				t.Errorf("Verify() of a token by %q = %v, want it good: %v", key, err, want)
			}
		}
	}
}

func TestNew(t *testing.T) {
	hs := Issuer{Name: "a", Algorithms: []string{HS256}, Secret: secret}
	rs := Issuer{Name: "b", Algorithms: []string{RS256}, Keys: keyring{}}
	change := func(i Issuer, f func(*Issuer)) Issuer { f(&i); return i }
	for _, tc := range []struct {
		name string
		list []Issuer
		want string // in the error; "" is none
	}{
		{"none", nil, ""},
		{"two that could mix up users", []Issuer{hs, rs}, "userPrefix"},
		{"two that share users", []Issuer{change(hs, func(i *Issuer) { i.SharesUsers = true }), change(rs, func(i *Issuer) { i.SharesUsers = true })}, ""},
		{"two that keep users apart", []Issuer{hs, change(rs, func(i *Issuer) { i.UserPrefix = "b:" })}, ""},
		{"one name for two algorithms", []Issuer{hs, change(rs, func(i *Issuer) { i.Name, i.UserPrefix = "a", "b:" })}, ""},
		{"the same twice", []Issuer{hs, hs}, "twice"},
		{"no algorithm", []Issuer{change(rs, func(i *Issuer) { i.Algorithms = nil })}, "algorithm"},
		{"none as algorithm", []Issuer{change(rs, func(i *Issuer) { i.Algorithms = []string{"none"} })}, "algorithm"},
		{"HS256 without secret", []Issuer{change(rs, func(i *Issuer) { i.Algorithms = []string{HS256} })}, "secret"},
		{"RS256 with secret", []Issuer{change(hs, func(i *Issuer) { i.Algorithms = []string{HS256, RS256} })}, "RS256"},
		{"keys without a name", []Issuer{change(rs, func(i *Issuer) { i.Name = "" })}, "name"},
	} {
		_, err := New(tc.list, 0)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: New() = %v, want an error with %q", tc.name, err, tc.want)
		}
	}
}
