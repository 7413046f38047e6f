package authservice

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// untilAnswered asks until there is an answer, as a gateway does: a machine may be too busy for one.
func untilAnswered(t *testing.T, ask func() error) error {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := fault.FromStatus(ask())
		if kind := fault.KindOf(err); kind != fault.Unavailable && kind != fault.Timeout || time.Now().After(end) {
			return err
		}
	}
}

// authenticateAll asks about tokens of sockets that connect, all in one call. Those that are not answered with the others are asked about
// alone, as a gateway does, unless the test knows which.
func authenticateAll(t *testing.T, client authv1.AuthServiceClient, tokens []string, late ...string) []*authv1.AuthenticateResult {
	t.Helper()
	request := &authv1.AuthenticateBatchRequest{}
	for _, token := range tokens {
		request.Requests = append(request.Requests, &authv1.AuthenticateRequest{Token: token, Connecting: true})
	}
	var answer *authv1.AuthenticateBatchResponse
	if err := untilAnswered(t, func() (err error) { answer, err = client.AuthenticateBatch(t.Context(), request); return err }); err != nil {
		t.Fatalf("AuthenticateBatch() = %v, want nil", err)
	}
	if len(answer.GetResults()) != len(tokens) {
		t.Fatalf("AuthenticateBatch() has %d results, want %d", len(answer.GetResults()), len(tokens))
	}
	for i, r := range answer.GetResults() {
		if kind := fault.Kind(r.GetFault().GetCode()); kind != fault.Unavailable && kind != fault.Timeout || slices.Contains(late, tokens[i]) {
			continue
		}
		var again *authv1.AuthenticateResponse
		err := untilAnswered(t, func() (err error) {
			again, err = client.Authenticate(t.Context(), request.GetRequests()[i])
			return err
		})
		r.Result = &authv1.AuthenticateResult_Response{Response: again}
		if f, ok := errors.AsType[*fault.Error](err); ok {
			r.Result = &authv1.AuthenticateResult_Fault{Fault: f.ToProto()}
		}
	}
	return answer.GetResults()
}

// outcomeOf is a result in words.
func outcomeOf(r *authv1.AuthenticateResult) string {
	if f := r.GetFault(); f != nil {
		return f.GetCode() + " " + f.GetReason()
	}
	id := r.GetResponse().GetIdentity()
	return fmt.Sprintf("%s %s %s", id.GetUserId(), id.GetName(), id.GetRole())
}

// TestAuthenticateBatch: each token of a call is judged as if it came alone, and the new users among them are made.
func TestAuthenticateBatch(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	ann := register(t, client, "ann")
	gone := register(t, client, "gone")
	if _, err := client.RevokeUser(withScopes(t, caller.ScopeUsers), &authv1.RevokeUserRequest{UserId: gone.GetUser().GetId()}); err != nil {
		t.Fatal(err)
	}
	zoe := token(t, "crm|7", "Zoë", "admin", 10)
	type expected struct{ token, want string }
	for what, cases := range map[string][]expected{
		"of all kinds": {
			{ann.GetAccessToken(), ann.GetUser().GetId() + " ann user"},
			{"", "unauthenticated authentication_required"},
			{zoe, "crm|7 Zoë admin"},
			{"garbage", "unauthenticated invalid_token"},
			{gone.GetAccessToken(), "unauthenticated invalid_token"},
			{zoe, "crm|7 Zoë admin"},
			{token(t, "system", "", "", 10), "unauthenticated invalid_user_id"},
			{token(t, "crm|8", "", "", 10), "crm|8 crm|8 user"},
			{ann.GetAccessToken(), ann.GetUser().GetId() + " ann user"},
		},
		"one":  {{token(t, "crm|9", "Nine", "", 10), "crm|9 Nine user"}},
		"bad":  {{"garbage", "unauthenticated invalid_token"}, {"", "unauthenticated authentication_required"}},
		"none": {},
	} {
		var tokens []string
		for _, c := range cases {
			tokens = append(tokens, c.token)
		}
		for i, r := range authenticateAll(t, client, tokens) {
			if got := outcomeOf(r); got != cases[i].want {
				t.Errorf("%s: result %d = %q, want %q", what, i, got, cases[i].want)
			}
		}
	}
	_, err := client.AuthenticateBatch(t.Context(), &authv1.AuthenticateBatchRequest{Requests: make([]*authv1.AuthenticateRequest, 1001)})
	wantFault(t, "AuthenticateBatch(1001)", err, fault.Invalid, "1000")
}

// TestCrowdOfNewUsers: many new users, some with several sockets, connect at two replicas in calls of many and of one. Everybody is let
// in as who they are, and exists once.
func TestCrowdOfNewUsers(t *testing.T) {
	s := newSystem(t)
	replicas := []authv1.AuthServiceClient{start(t, s.config(t)), start(t, s.config(t))}
	const users, calls = 120, 6
	tokens := make([]string, users)
	for i := range tokens {
		tokens[i] = token(t, fmt.Sprintf("crowd|%03d", i), fmt.Sprintf("Name %d", i), "", 10)
	}
	want := func(i int, got string) {
		if w := fmt.Sprintf("crowd|%03d Name %d user", i, i); got != w {
			t.Errorf("user %d = %q, want %q", i, got, w)
		}
	}
	var all sync.WaitGroup
	for call := range calls { // each asks about half of them, in an order of its own
		all.Go(func() {
			var of []int
			var asked []string
			for n := range users / 2 {
				i := (n*(2*call+1) + call*37) % users
				of, asked = append(of, i), append(asked, tokens[i])
			}
			for n, r := range authenticateAll(t, replicas[call%2], asked) {
				want(of[n], outcomeOf(r))
			}
		})
	}
	for i := range users {
		all.Go(func() {
			var answer *authv1.AuthenticateResponse
			if err := untilAnswered(t, func() (err error) {
				answer, err = replicas[i%2].Authenticate(t.Context(), &authv1.AuthenticateRequest{Token: tokens[i], Connecting: true})
				return err
			}); err != nil {
				t.Errorf("Authenticate() = %v, want nil", err)
				return
			}
			want(i, outcomeOf(&authv1.AuthenticateResult{Result: &authv1.AuthenticateResult_Response{Response: answer}}))
		})
	}
	all.Wait()
	var made int
	if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM users WHERE id LIKE 'crowd|%'`).Scan(&made); err != nil || made != users {
		t.Errorf("%d users, %v, want %d", made, err, users)
	}
}

// TestRevokedInABatch: a revocation that came before the question counts, where the caller says that it has heard of one.
func TestRevokedInABatch(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	ann, bob := register(t, client, "ann"), register(t, client, "bob")
	authenticateAll(t, client, []string{ann.GetAccessToken(), bob.GetAccessToken()}) // remembered from here on
	if _, err := s.pool.Exec(t.Context(), `UPDATE users SET generation = generation + 1 WHERE username = 'ann'`); err != nil {
		t.Fatal(err)
	}
	answer, err := client.AuthenticateBatch(t.Context(), &authv1.AuthenticateBatchRequest{Requests: []*authv1.AuthenticateRequest{
		{Token: ann.GetAccessToken(), Fresh: true}, {Token: bob.GetAccessToken()},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcomeOf(answer.GetResults()[0]); got != "unauthenticated invalid_token" {
		t.Errorf("ann = %q, want a refusal", got)
	}
	if got := answer.GetResults()[1].GetResponse().GetIdentity().GetUserId(); got != bob.GetUser().GetId() {
		t.Errorf("bob = %q, want %q", got, bob.GetUser().GetId())
	}
}

// TestSlowTokenInABatch: whose keys have to be fetched from an issuer that does not answer keeps nobody waiting who came with it.
func TestSlowTokenInABatch(t *testing.T) {
	s := newSystem(t)
	r := newRealm(t)
	cfg := s.config(t)
	cfg.External.Issuers = settings.Secret(fmt.Sprintf(`[{"issuer":%q,"audience":"chat","algorithms":["RS256"],"userPrefix":"acme:"}]`, r.issuer))
	client := start(t, cfg)
	if _, err := authenticate(t, client, r.token("cem", nil)); err != nil {
		t.Fatal(err)
	}
	r.rotate()
	slow := r.token("ann", nil)
	r.mu.Lock() // it hangs
	results := authenticateAll(t, client, []string{slow, token(t, "crm|1", "One", "", 10), "garbage"}, slow)
	_, err := client.AuthenticateBatch(t.Context(), &authv1.AuthenticateBatchRequest{Requests: []*authv1.AuthenticateRequest{{Token: slow}}})
	r.mu.Unlock()
	for i, want := range []string{"unavailable ", "crm|1 One user", "unauthenticated invalid_token"} {
		if got := outcomeOf(results[i]); got != want {
			t.Errorf("result %d = %q, want %q", i, got, want)
		}
	}
	wantFault(t, "AuthenticateBatch(slow alone)", err, fault.Unavailable, "") // as a call, so that another replica is asked
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if got := outcomeOf(authenticateAll(t, client, []string{slow, "garbage"}, slow)[0]); got == "acme:ann Ann of Acme user" {
			break
		} else if time.Now().After(end) {
			t.Fatalf("once the issuer answers: %q, want ann", got)
		}
	}
}
