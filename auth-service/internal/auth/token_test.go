package auth

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/auth-service/internal/issuers"
	"github.com/starling-chat/starling/proto/fault"
)

const (
	testSecret = "a secret of the operator's own login system"
	testLogin  = "0197f000-0000-7000-8000-000000000001"
)

// message is the text of a fault Unauthenticated, "" for success, and the whole error otherwise.
func message(err error) string {
	var f *fault.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &f) && f.Kind == fault.Unauthenticated:
		return f.Message
	}
	return err.Error()
}

func sign(t testing.TB, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	maps.Copy(token.Header, header)
	for k, v := range header {
		if v == nil {
			delete(token.Header, k)
		}
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// accept makes a set of one issuer that signs with testSecret, as JWT_SECRET says it.
func accept(t testing.TB, issuer issuers.Issuer) *issuers.Set {
	t.Helper()
	issuer.Secret, issuer.Algorithms, issuer.SharesUsers = testSecret, []string{issuers.HS256}, true
	set, err := issuers.New([]issuers.Issuer{issuer}, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// with copies m and changes it; nil removes.
func with(m map[string]any, changes map[string]any) map[string]any {
	m = maps.Clone(m)
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func TestAuthenticateOwnTokens(t *testing.T) {
	cfg := testConfig()
	cfg.Issuers = accept(t, issuers.Issuer{})
	s, _ := newTestService(t, cfg)
	key := s.keys.set.Load().keys[0]
	now := time.Now().Truncate(time.Millisecond)

	token, err := s.tokens.issue(Grant{User: User{ID: "ann", Name: "Ann", Role: RoleUser}, LoginID: testLogin, IssuedAt: now})
	if err != nil {
		t.Fatal(err)
	}
	want := Identity{
		UserID: "ann", Name: "Ann", Role: RoleUser, LoginID: testLogin, IssuedAt: now,
		Expires: now.Add(15 * time.Minute).Truncate(time.Second),
	}
	for range 2 { // parsed, then remembered
		got, err := s.Authenticate(t.Context(), token, "", Check{})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Authenticate(issued) = %v (-want +got):\n%s", err, diff)
		}
	}

	header := map[string]any{"typ": "at+jwt", "kid": key.id}
	claims := map[string]any{
		"iss": "starling", "aud": "starling", "sub": "ann", "role": "user", "lid": testLogin, "gen": 0,
		"iat": now.Unix(), "iat_ms": now.UnixMilli(), "exp": now.Add(time.Minute).Unix(),
	}
	_, stranger, _ := ed25519.GenerateKey(nil)
	const invalid = "Invalid token"
	eddsa, hs256 := jwt.SigningMethodEdDSA, jwt.SigningMethodHS256
	for _, tc := range []struct {
		name  string
		token string
		want  string
	}{
		{"none given", "", "Authentication required"},
		{"good", sign(t, eddsa, key.private, header, claims), ""},
		{"unknown user", sign(t, eddsa, key.private, header, with(claims, map[string]any{"sub": "bob"})), "User not found"},
		{"expired", sign(t, eddsa, key.private, header, with(claims, map[string]any{"exp": now.Add(-31 * time.Second).Unix()})), invalid},
		{"expired within the leeway", sign(t, eddsa, key.private, header, with(claims, map[string]any{"exp": now.Add(-20 * time.Second).Unix()})), ""},
		{"without exp", sign(t, eddsa, key.private, header, with(claims, map[string]any{"exp": nil})), invalid},
		{"other issuer", sign(t, eddsa, key.private, header, with(claims, map[string]any{"iss": "them"})), invalid},
		{"other audience", sign(t, eddsa, key.private, header, with(claims, map[string]any{"aud": "them"})), invalid},
		{"without login", sign(t, eddsa, key.private, header, with(claims, map[string]any{"lid": nil})), invalid},
		{"odd role", sign(t, eddsa, key.private, header, with(claims, map[string]any{"role": "root"})), invalid},
		{"without sub", sign(t, eddsa, key.private, header, with(claims, map[string]any{"sub": nil})), invalid},
		{"other type", sign(t, eddsa, key.private, with(header, map[string]any{"typ": "JWT"}), claims), invalid},
		{"critical extension", sign(t, eddsa, key.private, with(header, map[string]any{"crit": []string{"b64"}}), claims), invalid},
		{"unknown key", sign(t, eddsa, stranger, with(header, map[string]any{"kid": strings.Repeat("k", 43)}), claims), invalid},
		{"without kid", sign(t, eddsa, key.private, map[string]any{"typ": "at+jwt"}, claims), invalid},
		{"key of a stranger under our kid", sign(t, eddsa, stranger, header, claims), invalid},
		{"HS256 with the public key", sign(t, hs256, []byte(key.public()), header, claims), invalid},
		{"HS256 with the public key in base64", sign(t, hs256, []byte(encodePublic(key.public())), header, claims), invalid},
		{"HS512 with the secret", sign(t, jwt.SigningMethodHS512, []byte(testSecret), nil, claims), invalid},
		{"alg none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, header, claims), invalid},
		{"signature cut off", strings.TrimRight(token[:strings.LastIndex(token, ".")+1], ""), invalid},
		{"garbage", "garbage", invalid},
		{"dots", "..", invalid},
		{"too long", sign(t, eddsa, key.private, header, with(claims, map[string]any{"x": strings.Repeat("x", 4096)})), invalid},
	} {
		if _, err := s.Authenticate(t.Context(), tc.token, "", Check{}); message(err) != tc.want {
			t.Errorf("%s: Authenticate() = %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestAuthenticateForeignTokens(t *testing.T) {
	cfg := testConfig()
	cfg.Issuers = accept(t, issuers.Issuer{RequireExp: true})
	s, store := newTestService(t, cfg)
	strict := cfg
	strict.Issuers = accept(t, issuers.Issuer{RequireExp: true, Name: "them", Audiences: []string{"us"}})
	checked, _ := newTestService(t, strict)
	lax := cfg
	lax.Issuers = accept(t, issuers.Issuer{})
	forever, _ := newTestService(t, lax)
	off, _ := newTestService(t, testConfig())

	now := time.Now()
	claims := map[string]any{"sub": "ann", "exp": now.Add(time.Minute).Unix()}
	full := with(claims, map[string]any{"iss": "them", "aud": []string{"us", "others"}})
	number := func(n string) map[string]any { return with(claims, map[string]any{"sub": json.Number(n)}) }
	aud := func(v any) map[string]any { return with(claims, map[string]any{"aud": v}) }
	iat := func(d time.Duration) map[string]any { return with(claims, map[string]any{"iat": now.Add(d).Unix()}) }
	const invalid = "Invalid token"
	for _, tc := range []struct {
		name   string
		s      *Service
		key    string
		header map[string]any
		claims map[string]any
		want   string
	}{
		{"good", s, testSecret, nil, claims, ""},
		{"any issuer", s, testSecret, nil, with(full, map[string]any{"aud": nil}), ""},
		{"an audience, and we do not know who we are", s, testSecret, nil, full, invalid},
		{"an audience that is text", s, testSecret, nil, aud("us"), invalid},
		{"an empty audience", s, testSecret, nil, aud(""), invalid},
		{"nobody as audience", s, testSecret, nil, aud([]string{}), invalid},
		{"an audience of another form", s, testSecret, nil, aud(map[string]any{"a": 1}), invalid},
		{"an audience of another form, checked", checked, testSecret, nil, with(full, map[string]any{"aud": 7}), invalid},
		{"no audience, said so", s, testSecret, nil, with(claims, map[string]any{"aud": json.RawMessage("null")}), ""},
		{"issued within the leeway", s, testSecret, nil, iat(20 * time.Second), ""},
		{"issued beyond the leeway", s, testSecret, nil, iat(40 * time.Second), invalid},
		{"issued in an hour", s, testSecret, nil, iat(time.Hour), invalid},
		{"issued in a hundred years", s, testSecret, nil, iat(100 * 365 * 24 * time.Hour), invalid},
		{"issued at a time that is text", s, testSecret, nil, with(claims, map[string]any{"iat": "now"}), invalid},
		{"without typ", s, testSecret, map[string]any{"typ": nil}, claims, ""},
		{"wrong secret", s, "guess", nil, claims, invalid},
		{"empty secret", s, "", nil, claims, invalid},
		{"expired", s, testSecret, nil, with(claims, map[string]any{"exp": now.Add(-time.Hour).Unix()}), invalid},
		{"never expires", s, testSecret, nil, with(claims, map[string]any{"exp": nil}), invalid},
		{"never expires, allowed", forever, testSecret, nil, with(claims, map[string]any{"exp": nil}), ""},
		{"not yet", s, testSecret, nil, with(claims, map[string]any{"nbf": now.Add(time.Hour).Unix()}), invalid},
		{"unknown user", s, testSecret, nil, with(claims, map[string]any{"sub": "bob"}), "User not found"},
		{"sub is an unknown number", s, testSecret, nil, number("7"), "User not found"},
		{"sub is a fraction", s, testSecret, nil, number("4.2"), invalid},
		{"sub has an exponent", s, testSecret, nil, number("1e400000000"), invalid},
		{"sub is an object", s, testSecret, nil, with(claims, map[string]any{"sub": map[string]any{"id": "ann"}}), invalid},
		{"sub is a list", s, testSecret, nil, with(claims, map[string]any{"sub": []string{"ann"}}), invalid},
		{"sub is true", s, testSecret, nil, with(claims, map[string]any{"sub": true}), invalid},
		{"sub is empty", s, testSecret, nil, with(claims, map[string]any{"sub": ""}), invalid},
		{"sub is null", s, testSecret, nil, with(claims, map[string]any{"sub": json.RawMessage("null")}), invalid},
		{"sub is a number of 200 digits", s, testSecret, nil, number(strings.Repeat("9", 200)), invalid},
		{"sub is the System", s, testSecret, nil, with(claims, map[string]any{"sub": "system"}), invalid},
		{"sub too long", s, testSecret, nil, with(claims, map[string]any{"sub": strings.Repeat("s", 129)}), invalid},
		{"sub not printable", s, testSecret, nil, with(claims, map[string]any{"sub": "a\u0007"}), invalid},
		{"ID token", s, testSecret, map[string]any{"typ": "id+jwt"}, claims, invalid},
		{"issuer and audience fit", checked, testSecret, nil, full, ""},
		{"issuer missing", checked, testSecret, nil, claims, invalid},
		{"issuer wrong", checked, testSecret, nil, with(full, map[string]any{"iss": "x"}), invalid},
		{"audience wrong", checked, testSecret, nil, with(full, map[string]any{"aud": "x"}), invalid},
		{"HS256 is off", off, testSecret, nil, claims, invalid},
		{"HS256 is off, empty secret", off, "", nil, claims, invalid},
	} {
		token := sign(t, jwt.SigningMethodHS256, []byte(tc.key), tc.header, tc.claims)
		if _, err := tc.s.Authenticate(t.Context(), token, "", Check{}); message(err) != tc.want {
			t.Errorf("%s: Authenticate() = %v, want %q", tc.name, err, tc.want)
		}
	}

	for _, tc := range []struct {
		claims map[string]any
		name   string
		role   Role
	}{
		{nil, "Ann", RoleUser},
		{map[string]any{"name": "Dr. Ann", "role": "admin"}, "Dr. Ann", RoleAdmin},
		{map[string]any{"name": 7, "role": []int{1}}, "Ann", RoleUser},
		{map[string]any{"role": []string{"editor", "admin"}}, "Ann", RoleAdmin},
		{map[string]any{"name": "\n", "role": "root"}, "Ann", RoleUser},
		{map[string]any{"name": "山田　太郎"}, "山田 太郎", RoleUser},
		{map[string]any{"name": "Anna 👩‍💻"}, "Anna 👩‍💻", RoleUser},
		{map[string]any{"name": strings.Repeat("n", 65)}, strings.Repeat("n", 64), RoleUser},
	} {
		got, err := s.Authenticate(t.Context(), sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil, with(claims, tc.claims)), "", Check{})
		if err != nil || got.Name != tc.name || got.Role != tc.role {
			t.Errorf("Authenticate(%v) = %q %q, %v, want %q %q", tc.claims, got.Name, got.Role, err, tc.name, tc.role)
		}
	}

	for raw, want := range map[string]UserID{
		`42`: "42", `0`: "0", `-1`: "-1", `42.0`: "42", `9007199254740993`: "9007199254740993",
		`123456789012345678901234567890`: "123456789012345678901234567890", `"42"`: "42",
	} {
		store.state.User.ID = want
		got, err := s.Authenticate(t.Context(), sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil, with(claims, map[string]any{"sub": json.RawMessage(raw)})), "", Check{})
		if err != nil || got.UserID != want {
			t.Errorf("Authenticate(sub %s) = %q, %v, want %q", raw, got.UserID, err, want)
		}
	}
	store.state.User.ID = "ann"

	// Revoked in the middle of a second: what says that very second was issued before.
	second := now.Truncate(time.Second)
	store.state.User.RevokedAt = second.Add(300 * time.Millisecond)
	s.Forget(Revocation{UserID: "ann"})
	for iat, want := range map[any]string{
		second.Unix(): invalid, second.Unix() - 5: invalid, second.Unix() + 1: "", nil: invalid,
	} {
		token := sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil, with(claims, map[string]any{"iat": iat}))
		if _, err := s.Authenticate(t.Context(), token, "", Check{}); message(err) != want {
			t.Errorf("Authenticate(iat %v) after a revocation = %v, want %q", iat, err, want)
		}
	}
}

// TestRefusedTokensAreExplained: the client hears one answer for every bad token; the operator's log has the cause.
func TestRefusedTokensAreExplained(t *testing.T) {
	cfg := testConfig()
	cfg.Issuers = accept(t, issuers.Issuer{RequireExp: true})
	s, store := newTestService(t, cfg)
	now := time.Now()
	claims := map[string]any{"sub": "ann", "exp": now.Add(time.Minute).Unix(), "iat": now.Unix()}
	signed := func(key string, changes map[string]any) string {
		return sign(t, jwt.SigningMethodHS256, []byte(key), nil, with(claims, changes))
	}
	for _, tc := range []struct{ token, cause string }{
		{"", "no_token"},
		{strings.Repeat("x", maxToken+1), "too_long"},
		{"garbage", "algorithm"},
		{signed("guess", nil), "signature"},
		{signed(testSecret, map[string]any{"exp": now.Add(-time.Hour).Unix()}), "expired"},
		{signed(testSecret, map[string]any{"exp": nil}), "claim_missing"},
		{signed(testSecret, map[string]any{"nbf": now.Add(time.Hour).Unix()}), "not_yet_valid"},
		{signed(testSecret, map[string]any{"iat": now.Add(time.Hour).Unix()}), "issued_in_future"},
		{signed(testSecret, map[string]any{"aud": "us"}), "audience"},
		{signed(testSecret, map[string]any{"sub": true}), "subject"},
		{signed(testSecret, map[string]any{"sub": "system"}), "user_id"},
		{signed(testSecret, map[string]any{"sub": "bob"}), "unknown_user"},
		{signed(testSecret, map[string]any{"exp": "soon"}), "malformed"},
		{signed(testSecret, map[string]any{"starling": map[string]any{"rooms": "order-*"}}), "rooms_form"},
		{signed(testSecret, map[string]any{"starling": map[string]any{"rooms": make([]any, 101)}}), "rooms_count"},
		{signed(testSecret, map[string]any{"starling": map[string]any{"rooms": []any{map[string]any{"can": []string{"read"}}}}}), "rooms_match"},
		{signed(testSecret, map[string]any{"starling": map[string]any{"rooms": []any{map[string]any{"match": "a", "can": []string{"own"}}}}}), "rooms_can"},
	} {
		_, err := s.Authenticate(t.Context(), tc.token, "192.0.2.1", Check{})
		e := s.recorder.(*recorded).last()
		if err == nil || e.Act != ActToken || e.Result != ResultFailed || e.Cause != tc.cause || e.Address != "192.0.2.1" {
			t.Errorf("Authenticate() = %v, recorded %+v, want the cause %q", err, e, tc.cause)
		}
	}
	store.state.User.RevokedAt = now.Add(time.Hour)
	s.Forget(Revocation{UserID: "ann"})
	if _, err := s.Authenticate(t.Context(), signed(testSecret, nil), "", Check{}); err == nil || s.recorder.(*recorded).last().Cause != "revoked" {
		t.Errorf("Authenticate(revoked) = %v, recorded %+v, want the cause revoked", err, s.recorder.(*recorded).last())
	}
	if e := s.recorder.(*recorded).last(); e.User != "ann" {
		t.Errorf("a revoked token of ann is recorded as %q's", e.User)
	}
}

func TestRevokedStateEndsWithTheCache(t *testing.T) {
	s, store := newTestService(t, testConfig())
	token, err := s.tokens.issue(Grant{User: User{ID: "ann", Role: RoleUser}, LoginID: testLogin, IssuedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authenticate(t.Context(), token, "", Check{}); err != nil {
		t.Fatal(err)
	}
	reads := store.reads
	if _, err := s.Authenticate(t.Context(), token, "", Check{}); err != nil || store.reads != reads {
		t.Errorf("a second Authenticate read the store %d times, %v, want 0", store.reads-reads, err)
	}
	store.mu.Lock()
	store.state.User.Generation++
	store.mu.Unlock()
	deadline := time.Now().Add(30 * time.Second)
	for {
		if _, err = s.Authenticate(t.Context(), token, "", Check{}); err != nil || time.Now().After(deadline) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if message(err) != "Invalid token" {
		t.Errorf("Authenticate(revoked) later = %v, want Invalid token", err)
	}
}

func TestUnknownKeysAreNotLookedUpForEveryToken(t *testing.T) {
	s, store := newTestService(t, testConfig())
	_, stranger, _ := ed25519.GenerateKey(nil)
	reads := store.reads
	for i := range 20 {
		kid := strings.Repeat(string(rune('a'+i)), keyIDSize)
		token := sign(t, jwt.SigningMethodEdDSA, stranger, map[string]any{"typ": "at+jwt", "kid": kid}, map[string]any{"exp": 1})
		if _, err := s.Authenticate(t.Context(), token, "", Check{}); message(err) != "Invalid token" {
			t.Errorf("Authenticate(forged) = %v, want Invalid token", err)
		}
	}
	if got := store.reads - reads; got != 1 {
		t.Errorf("20 forged tokens read the keys %d times, want 1", got)
	}

	// Another replica's new key is found, and an outage is not the token's fault.
	s.keys.reloaded = time.Time{}
	_, fresh, _ := ed25519.GenerateKey(nil)
	stored, err := s.keys.atRest(fresh, store.now)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	token := sign(t, jwt.SigningMethodEdDSA, fresh, map[string]any{"typ": "at+jwt", "kid": stored.ID}, map[string]any{
		"iss": "starling", "aud": "starling", "sub": "ann", "role": "user", "lid": testLogin, "exp": now.Add(time.Minute).Unix(),
	})
	store.err = fault.New(fault.Unavailable, "Service unavailable")
	if _, err := s.Authenticate(t.Context(), token, "", Check{}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Authenticate() while the store is away = %v, want %s", err, fault.Unavailable)
	}
	store.err, store.keys = nil, append(store.keys, stored)
	if _, err := s.Authenticate(t.Context(), token, "", Check{}); err != nil {
		t.Errorf("Authenticate(key of another replica) = %v, want nil", err)
	}
}

func FuzzAuthenticate(f *testing.F) {
	cfg := testConfig()
	cfg.Issuers = accept(f, issuers.Issuer{})
	s, _ := newTestService(f, cfg)
	own, err := s.tokens.issue(Grant{User: User{ID: "ann", Role: RoleUser}, LoginID: testLogin, IssuedAt: time.Now()})
	if err != nil {
		f.Fatal(err)
	}
	foreign := sign(f, jwt.SigningMethodHS256, []byte(testSecret), nil, map[string]any{"sub": "ann"})
	for _, seed := range []string{
		"", ".", "..", "...", own, foreign, own[:len(own)-1], foreign + "=", "eyJhbGciOiJub25lIn0.e30.",
		"eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6W119.e30.AAAA",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, err := s.Authenticate(t.Context(), token, "", Check{})
		switch {
		case err == nil && token != own && token != foreign:
			t.Errorf("Authenticate(%q) = %v, want a fault: nobody signed it", token, id)
		case err != nil && fault.KindOf(err) != fault.Unauthenticated:
			t.Errorf("Authenticate(%q) = %v, want %s", token, err, fault.Unauthenticated)
		}
	})
}

// TestFresh: a replica that has not heard of a revocation goes by what it remembers, but for whoever has heard of it.
func TestFresh(t *testing.T) {
	cfg := testConfig()
	cfg.Issuers = accept(t, issuers.Issuer{RequireExp: true})
	s, store := newTestService(t, cfg)
	now := time.Now()
	token := sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil, map[string]any{"sub": "ann", "exp": now.Add(time.Minute).Unix(), "iat": now.Unix()})
	if _, err := s.Authenticate(t.Context(), token, "", Check{}); err != nil {
		t.Fatal(err)
	}
	store.state.User.Disabled, store.state.User.Generation = true, 1
	if id, err := s.Authenticate(t.Context(), token, "", Check{}); err != nil || id.Generation != 0 {
		t.Fatalf("the state is not remembered: %v, generation %d, want the one before the revocation", err, id.Generation)
	}
	if _, err := s.Authenticate(t.Context(), token, "", Check{Connecting: true}); err == nil {
		t.Error("a disabled user is let in although the user was read to be described")
	}
	for _, connecting := range []bool{true, false} {
		if _, err := s.Authenticate(t.Context(), token, "", Check{Connecting: connecting, Fresh: true}); err == nil {
			t.Errorf("a disabled user is let in by what is remembered (connecting: %v)", connecting)
		}
	}
	if _, err := s.Authenticate(t.Context(), token, "", Check{}); err == nil {
		t.Error("what was read is not remembered")
	}
}

// TestForeignTokensOfGuests: other login systems neither make guests nor speak for them, unless they share their users; and make no more than a
// guest of one.
func TestForeignTokensOfGuests(t *testing.T) {
	const guest, unknown = "guest:0197f000-0000-7000-8000-000000000001", "guest:0197f000-0000-7000-8000-000000000002"
	for _, test := range []struct {
		shares  bool
		subject string
		want    string
	}{
		{true, guest, "guest"}, {true, unknown, "User not found"}, {false, guest, "Invalid token"}, {false, unknown, "User not found"},
	} {
		set, err := issuers.New([]issuers.Issuer{{
			Secret: testSecret, Algorithms: []string{issuers.HS256}, SharesUsers: test.shares, Provision: true,
		}}, 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		cfg := testConfig()
		cfg.Issuers, cfg.Guests = set, Guests{On: true, TTL: time.Hour}
		s, store := newTestService(t, cfg)
		store.state.User = User{ID: guest, Name: "Guest", Role: RoleGuest}
		now := time.Now()
		token := sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil, map[string]any{
			"sub": test.subject, "role": "admin", "exp": now.Add(time.Minute).Unix(), "iat": now.Add(-time.Minute).Unix(),
		})
		id, err := s.Authenticate(t.Context(), token, "", Check{})
		got := string(id.Role)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("a token for %s, users shared: %v = %s, want %s", test.subject, test.shares, got, test.want)
		}
	}
}
