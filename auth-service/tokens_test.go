package authservice

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/starling-chat/starling/auth-service/internal/postgres"
	"github.com/starling-chat/starling/platform/porttest"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	"github.com/starling-chat/starling/proto/limits"
)

func TestRefresh(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	first := register(t, client, "ann")
	second, err := refresh(t, client, first.GetRefreshToken())
	if err != nil || second.GetRefreshToken() == first.GetRefreshToken() {
		t.Fatalf("Refresh() = %v, %v, want another token", second.GetRefreshToken(), err)
	}
	again, err := refresh(t, client, first.GetRefreshToken())
	if err != nil || again.GetRefreshToken() != second.GetRefreshToken() {
		t.Errorf("Refresh() of a token spent just now = %v, %v, want the same successor %v", again.GetRefreshToken(), err, second.GetRefreshToken())
	}
	third, err := refresh(t, client, second.GetRefreshToken())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authenticate(t, client, third.GetAccessToken()); err != nil {
		t.Errorf("Authenticate(refreshed) = %v, want nil", err)
	}

	// After the grace the same use is a theft: the family ends and its sockets are told.
	revocations := subscribe(t, s.nc)
	s.age(t, 21)
	_, err = refresh(t, client, first.GetRefreshToken())
	wantFault(t, "Refresh(reused)", err, fault.Unauthenticated, "Invalid refresh token")
	if r := next(t, revocations); r.GetLoginId() == "" || r.GetUserId() != first.GetUser().GetId() {
		t.Errorf("published %v, want a revocation of the login", r)
	}
	_, err = refresh(t, client, third.GetRefreshToken())
	wantFault(t, "Refresh(unspent token of the family)", err, fault.Unauthenticated, "Invalid refresh token")
	wantRefused(t, client, third.GetAccessToken(), "token of the family")

	_, err = refresh(t, client, strings.Repeat("A", 43))
	wantFault(t, "Refresh(unknown)", err, fault.Unauthenticated, "Invalid refresh token")
	_, err = refresh(t, client, "")
	wantFault(t, "Refresh(none)", err, fault.Unauthenticated, "Invalid refresh token")
	expired := register(t, client, "bob")
	if _, err := s.pool.Exec(t.Context(), `UPDATE refresh_tokens SET expires_at = now()`); err != nil {
		t.Fatal(err)
	}
	_, err = refresh(t, client, expired.GetRefreshToken())
	wantFault(t, "Refresh(expired)", err, fault.Unauthenticated, "Invalid refresh token")
}

// age makes everything that happened to the refresh tokens lie so much further back.
func (s *system) age(t *testing.T, seconds int) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), `UPDATE refresh_tokens SET spent_at = spent_at - $1 * interval '1 second'`, seconds); err != nil {
		t.Fatal(err)
	}
}

// TestRefreshInSeveralTabs: tabs that share a token and overtake each other within the grace all end up with the living one.
func TestRefreshInSeveralTabs(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	pair := register(t, client, "ann")
	use := func(token string) string {
		t.Helper()
		answer, err := refresh(t, client, token)
		if err != nil {
			t.Fatalf("Refresh() = %v, want nil", err)
		}
		if _, err := authenticate(t, client, answer.GetAccessToken()); err != nil {
			t.Errorf("Authenticate(refreshed) = %v, want nil", err)
		}
		return answer.GetRefreshToken()
	}
	o := pair.GetRefreshToken()
	second := use(o)
	third := use(second)
	fourth := use(third)
	for step, token := range []string{o, second, third} {
		if got := use(token); got != fourth {
			t.Errorf("Refresh(token %d, spent just now) = %q, want the newest one, %q", step+1, got, fourth)
		}
	}
	fifth := use(fourth)
	if got := use(o); got != fifth {
		t.Errorf("Refresh(first token) once the living one was spent = %q, want the newest one, %q", got, fifth)
	}

	// A tab that wakes up two steps behind, after the grace, cannot be told from a thief.
	s.age(t, 21)
	_, err := refresh(t, client, third)
	wantFault(t, "Refresh(two steps behind, after the grace)", err, fault.Unauthenticated, "Invalid refresh token")
	_, err = refresh(t, client, fifth)
	wantFault(t, "Refresh(of the ended login)", err, fault.Unauthenticated, "Invalid refresh token")
}

// TestLostRefreshAnswer: a refresh whose answer never came may be asked again much later, until somebody uses the answer.
func TestLostRefreshAnswer(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	token := register(t, client, "ann").GetRefreshToken()
	lost, err := refresh(t, client, token)
	if err != nil {
		t.Fatal(err)
	}
	for _, later := range []int{21, 3600, 20 * 24 * 3600} {
		s.age(t, later)
		if _, err := postgres.NewStore(s.pool).Prune(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		again, err := refresh(t, client, token)
		if err != nil || again.GetRefreshToken() != lost.GetRefreshToken() {
			t.Fatalf("Refresh() again %d s later = %v, %v, want the same successor", later, again.GetRefreshToken(), err)
		}
	}
	used, err := refresh(t, client, lost.GetRefreshToken())
	if err != nil {
		t.Fatal(err)
	}
	_, err = refresh(t, client, token)
	wantFault(t, "Refresh(whose successor was used)", err, fault.Unauthenticated, "Invalid refresh token")
	_, err = refresh(t, client, used.GetRefreshToken())
	wantFault(t, "Refresh(of the ended login)", err, fault.Unauthenticated, "Invalid refresh token")
	wantRefused(t, client, used.GetAccessToken(), "of the ended login")
}

func TestConcurrentRefreshOnTwoReplicas(t *testing.T) {
	s := newSystem(t)
	replicas := []authv1.AuthServiceClient{start(t, s.config(t)), start(t, s.config(t))}
	pair := register(t, replicas[0], "ann")
	for range 5 {
		successors := make([]string, 12)
		var all sync.WaitGroup
		for i := range successors {
			all.Go(func() {
				answer, err := refresh(t, replicas[i%2], pair.GetRefreshToken())
				if err != nil {
					t.Errorf("Refresh() at once = %v, want nil", err)
				}
				successors[i] = answer.GetRefreshToken()
			})
		}
		all.Wait()
		if got := slices.Compact(slices.Sorted(slices.Values(successors))); len(got) != 1 {
			t.Fatalf("one token has %d successors, want 1", len(got))
		}
		pair.RefreshToken = successors[0]
	}
	var unspent int
	if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM refresh_tokens WHERE spent_at IS NULL`).Scan(&unspent); err != nil || unspent != 1 {
		t.Errorf("%d unspent tokens, %v, want 1", unspent, err)
	}
}

func TestForeignTokens(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	cfg := s.config(t)
	cfg.External.Provision = false
	strict := start(t, cfg)
	sign := func(claims jwt.MapClaims) string {
		t.Helper()
		claims["exp"] = time.Now().Add(time.Minute).Unix()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(jwtSecret))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	_, err := authenticate(t, strict, sign(jwt.MapClaims{"sub": "crm|7"}))
	wantFault(t, "Authenticate(unknown sub)", err, fault.Unauthenticated, "User not found")

	identity, err := authenticate(t, client, sign(jwt.MapClaims{"sub": "crm|7", "name": "Zoë", "role": "admin"}))
	if err != nil || identity.GetUserId() != "crm|7" || identity.GetName() != "Zoë" || identity.GetRole() != "admin" || identity.GetIssuedAt() != nil {
		t.Errorf("Authenticate(provisioned) = %v, %v, want crm|7, Zoë, admin, no time of issue", identity, err)
	}
	if identity, err = authenticate(t, client, sign(jwt.MapClaims{"sub": "crm|7", "name": "Zoë B."})); err != nil || identity.GetName() != "Zoë B." {
		t.Errorf("Authenticate(renamed) = %v, %v, want Zoë B.", identity, err)
	}
	if identity, err = authenticate(t, strict, sign(jwt.MapClaims{"sub": "crm|7"})); err != nil || identity.GetName() != "Zoë" {
		t.Errorf("Authenticate(known) = %v, %v, want Zoë", identity, err)
	}
	users, err := client.GetUsers(t.Context(), &authv1.GetUsersRequest{UserIds: []string{"crm|7"}})
	if err != nil || len(users.GetUsers()) != 1 || users.GetUsers()[0].GetName() != "Zoë" || users.GetUsers()[0].GetUsername() != "" {
		t.Errorf("GetUsers(crm|7) = %v, %v, want Zoë without username", users, err)
	}

	for _, character := range []string{"a", "星", "𠮷"} { // of one, three and four bytes
		longest := strings.Repeat(character, limits.UserIDChars)
		if identity, err = authenticate(t, client, sign(jwt.MapClaims{"sub": longest})); err != nil || identity.GetUserId() != longest {
			t.Errorf("Authenticate(%d × %s) = %v, %v, want that user", limits.UserIDChars, character, identity, err)
		}
		_, err = authenticate(t, client, sign(jwt.MapClaims{"sub": longest + character}))
		if refusal, ok := fault.RefusalOf(fault.FromStatus(err)); !ok || refusal.Reason != fault.ReasonUserID {
			t.Errorf("Authenticate(one more %s) = %v, want a refusal for %s", character, err, fault.ReasonUserID)
		}
	}

	before := sign(jwt.MapClaims{"sub": "crm|7", "iat": time.Now().Unix()})
	if _, err := client.RevokeUser(withScopes(t, caller.ScopeUsers), &authv1.RevokeUserRequest{UserId: "crm|7"}); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, client, before, "foreign, revoked")
	if _, err := authenticate(t, client, sign(jwt.MapClaims{"sub": "crm|7", "iat": time.Now().Unix() + 1})); err != nil {
		t.Errorf("Authenticate(signed after the revocation) = %v, want nil", err)
	}

	_, err = authenticate(t, client, sign(jwt.MapClaims{"sub": "system"}))
	if refusal, ok := fault.RefusalOf(fault.FromStatus(err)); !ok || refusal.Reason != fault.ReasonUserID {
		t.Errorf("Authenticate(sub system) = %v, want a refusal for %s", err, fault.ReasonUserID)
	}
	if identity, err = authenticate(t, client, sign(jwt.MapClaims{"sub": 42})); err != nil || identity.GetUserId() != "42" {
		t.Errorf("Authenticate(sub 42) = %v, %v, want the user 42", identity, err)
	}

	if _, err := s.pool.Exec(t.Context(), `UPDATE users SET deleted_at = now()`); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	_, err = authenticate(t, client, sign(jwt.MapClaims{"sub": "crm|7", "iat": time.Now().Unix() + 1}))
	wantFault(t, "Authenticate(deleted)", err, fault.Unauthenticated, "User not found")
}

// TestForeignTokenDatedAhead: a revocation covers a token that was seen before it, also when the clock that dated it is ahead of
// ours; what the same clock dates later is a new login.
func TestForeignTokenDatedAhead(t *testing.T) {
	s := newSystem(t)
	client, other := start(t, s.config(t)), start(t, s.config(t))
	clock := time.Now().Add(20 * time.Second) // of the login system
	sign := func(at time.Time) string {
		t.Helper()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"sub": "crm|8", "iat": at.Unix(), "exp": at.Add(time.Hour).Unix(),
		}).SignedString([]byte(jwtSecret))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	token := sign(clock)
	identity, err := authenticate(t, client, token)
	if err != nil {
		t.Fatalf("Authenticate(dated within the leeway) = %v, want nil", err)
	}
	revocations := subscribe(t, s.nc)
	if _, err := client.RevokeUser(withScopes(t, caller.ScopeUsers), &authv1.RevokeUserRequest{UserId: "crm|8"}); err != nil {
		t.Fatal(err)
	}
	if r := next(t, revocations); !identity.GetIssuedAt().AsTime().Before(r.GetRevokedAt().AsTime()) {
		t.Errorf("gateways hear of a revocation of what was issued before %v, want after %v", r.GetRevokedAt().AsTime(), identity.GetIssuedAt().AsTime())
	}
	wantRefused(t, client, token, "revoked, dated ahead")
	wantRefused(t, other, token, "revoked, dated ahead, on another replica")
	if _, err := authenticate(t, other, sign(clock.Add(2*time.Second))); err != nil {
		t.Errorf("Authenticate(a login after the revocation by the same clock) = %v, want nil", err)
	}
	_, err = authenticate(t, client, sign(time.Now().Add(time.Hour)))
	wantFault(t, "Authenticate(issued in an hour)", err, fault.Unauthenticated, "Invalid token")
}

func TestKeys(t *testing.T) {
	s := newSystem(t)
	cfg := s.config(t)
	cfg.Tokens.KeySecret = "hush"
	other := cfg
	other.RPC.Listen = porttest.Reserve(t)
	here, there := start(t, cfg), start(t, other)

	set, err := here.Keys(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	var keys struct{ Keys []map[string]string }
	if err := json.Unmarshal(set.GetData(), &keys); err != nil || len(keys.Keys) != 1 {
		t.Fatalf("Keys() = %s, %v, want one key", set.GetData(), err)
	}
	key := keys.Keys[0]
	if diff := cmp.Diff(map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key["kid"], "x": key["x"]}, key); diff != "" {
		t.Errorf("Keys() (-want +got):\n%s", diff)
	}
	var sealed bool
	if err := s.pool.QueryRow(t.Context(), `SELECT sealed FROM signing_keys`).Scan(&sealed); err != nil || !sealed {
		t.Errorf("the signing key is sealed %v, %v, want true", sealed, err)
	}
	if _, err := authenticate(t, there, register(t, here, "ann").GetAccessToken()); err != nil {
		t.Errorf("Authenticate() on the other replica = %v, want nil", err)
	}

	known, err := here.AuthenticateKey(t.Context(), &authv1.AuthenticateKeyRequest{Key: apiKey})
	if err != nil || known.GetName() != "default" || !slices.Equal(known.GetScopes(), caller.AllScopes()) {
		t.Errorf("AuthenticateKey() = %v, %v, want default with all scopes", known, err)
	}
	_, err = here.AuthenticateKey(t.Context(), &authv1.AuthenticateKeyRequest{Key: "guess"})
	wantFault(t, "AuthenticateKey(guess)", err, fault.Unauthenticated, "Invalid API key")
}
