package authservice

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/metadata"

	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// startBoth runs a replica and gives its two services.
func startBoth(t *testing.T, cfg Config) (authv1.AuthServiceClient, authv1.UserServiceClient) {
	t.Helper()
	client := start(t, cfg)
	conn, err := rpc.Dial(cfg.RPC.Listen, rpc.ClientConfig{Token: cfg.RPC.Token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return client, authv1.NewUserServiceClient(conn)
}

// as is a caller with an access token, as the gateway says it.
func as(t *testing.T, client authv1.AuthServiceClient, token string) context.Context {
	t.Helper()
	identity, err := authenticate(t, client, token)
	if err != nil {
		t.Fatal(err)
	}
	return asIdentity(t, identity)
}

func asIdentity(t *testing.T, identity *eventv1.Identity) context.Context {
	t.Helper()
	md, err := caller.Metadata(identity, nil, "192.0.2.9")
	if err != nil {
		t.Fatal(err)
	}
	return metadata.NewOutgoingContext(t.Context(), md)
}

func signed(t *testing.T, sub string, issued time.Time) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": sub, "iat": issued.Unix(), "exp": issued.Add(time.Hour).Unix(),
	}).SignedString([]byte(jwtSecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestUsers(t *testing.T) {
	s := newSystem(t)
	client, manage := startBoth(t, s.config(t))
	backend := withScopes(t, caller.ScopeUsers)
	upsert := func(users ...*authv1.UserUpsert) ([]*authv1.UserProfile, error) {
		answer, err := manage.UpsertUsers(backend, &authv1.UpsertUsersRequest{Users: users})
		return answer.GetUsers(), err
	}
	made, err := upsert(
		&authv1.UserUpsert{Id: "crm|2", Name: new(" Zoë\u202e "), AvatarUrl: new("https://crm.test/2.png"), DataJson: []byte(`{"team": 9007199254740993}`)},
		&authv1.UserUpsert{Id: "crm|1"},
	)
	if err != nil || len(made) != 2 || made[0].GetName() != "Zoë" || made[0].GetAvatarUrl() != "https://crm.test/2.png" ||
		string(made[0].GetDataJson()) != `{"team": 9007199254740993}` || made[1].GetName() != "crm|1" || made[1].GetRole() != "user" || string(made[1].GetDataJson()) != "{}" {
		t.Errorf("UpsertUsers(two new) = %v, %v, want both as they were given", made, err)
	}
	if made, err = upsert(&authv1.UserUpsert{Id: "crm|2", AvatarUrl: new("")}); err != nil || made[0].GetName() != "Zoë" || made[0].GetAvatarUrl() != "" || len(made[0].GetDataJson()) < 10 {
		t.Errorf("UpsertUsers(without picture) = %v, %v, want the rest as it was", made, err)
	}
	identity, err := authenticate(t, client, signed(t, "crm|2", time.Now()))
	if err != nil || identity.GetName() != "Zoë" {
		t.Errorf("Authenticate(upserted) = %v, %v, want Zoë", identity, err)
	}
	for what, tc := range map[string]struct {
		users []*authv1.UserUpsert
		kind  fault.Kind
		text  string
	}{
		"none":           {nil, fault.Invalid, "users"},
		"101":            {make([]*authv1.UserUpsert, 101), fault.Invalid, ""},
		"twice":          {[]*authv1.UserUpsert{{Id: "a"}, {Id: "a"}}, fault.Invalid, "twice"},
		"the system":     {[]*authv1.UserUpsert{{Id: "system"}}, fault.Invalid, "userId"},
		"no id":          {[]*authv1.UserUpsert{{}}, fault.Invalid, "userId"},
		"invisible name": {[]*authv1.UserUpsert{{Id: "a", Name: new("\u200b")}}, fault.Invalid, "name"},
		"script":         {[]*authv1.UserUpsert{{Id: "a", AvatarUrl: new("javascript:alert(1)")}}, fault.Invalid, "avatarUrl"},
		"list as data":   {[]*authv1.UserUpsert{{Id: "a", DataJson: []byte(`[1]`)}}, fault.Invalid, "data"},
		"broken data":    {[]*authv1.UserUpsert{{Id: "a", DataJson: []byte(`{`)}}, fault.Invalid, "data"},
		"deep data":      {[]*authv1.UserUpsert{{Id: "a", DataJson: []byte(strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat(`}`, 9))}}, fault.Invalid, "data"},
		"large data":     {[]*authv1.UserUpsert{{Id: "a", DataJson: []byte(`{"a":"` + strings.Repeat("x", 4090) + `"}`)}}, fault.TooLarge, "data"},
	} {
		_, err := upsert(tc.users...)
		wantFault(t, "UpsertUsers("+what+")", err, tc.kind, tc.text)
	}
	if _, err := upsert(&authv1.UserUpsert{Id: "b"}, &authv1.UserUpsert{Id: "c", AvatarUrl: new("ftp://x")}); err == nil {
		t.Error("UpsertUsers(one of them wrong) = nil, want a fault")
	}
	_, err = manage.GetUser(backend, &authv1.GetUserRequest{UserId: "b"})
	wantFault(t, "GetUser(of a refused upsert)", err, fault.NotFound, "User not found")

	// Upserts of the same users in other orders, at once.
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			list := []*authv1.UserUpsert{{Id: "x", Name: new("X")}, {Id: "y", Name: new("Y")}}
			list[0], list[1] = list[i%2], list[1-i%2]
			if answer, err := upsert(list...); err != nil || answer[0].GetId() != list[0].GetId() {
				t.Errorf("UpsertUsers(at once) = %v, %v, want the order of the request", answer, err)
			}
		})
	}
	all.Wait()

	_, err = manage.UpsertUsers(t.Context(), &authv1.UpsertUsersRequest{Users: []*authv1.UserUpsert{{Id: "a"}}})
	wantFault(t, "UpsertUsers(without key)", err, fault.Unauthenticated, "API key")
	_, err = manage.UpdateUser(withScopes(t, caller.ScopeEmit), &authv1.UpdateUserRequest{UserId: "x"})
	wantFault(t, "UpdateUser(without scope)", err, fault.Forbidden, "users")
	_, err = manage.DeleteUser(asIdentity(t, identity), &authv1.DeleteUserRequest{UserId: "crm|2"})
	wantFault(t, "DeleteUser(by the user)", err, fault.Unauthenticated, "API key")

	me := asIdentity(t, identity)
	if p, err := manage.UpdateUser(me, &authv1.UpdateUserRequest{UserId: "crm|2", Name: new("Zoë B.")}); err != nil || p.GetName() != "Zoë B." {
		t.Errorf("UpdateUser(own) = %v, %v, want Zoë B.", p, err)
	}
	if p, err := manage.GetUser(me, &authv1.GetUserRequest{UserId: "crm|2"}); err != nil || p.GetName() != "Zoë B." || p.GetCreatedAt() == "" {
		t.Errorf("GetUser(own) = %v, %v, want Zoë B.", p, err)
	}
	for _, other := range []string{"crm|1", "nobody"} { // it does not tell who exists
		_, err = manage.GetUser(me, &authv1.GetUserRequest{UserId: other})
		wantFault(t, "GetUser("+other+", by another user)", err, fault.Forbidden, "own user")
		_, err = manage.UpdateUser(me, &authv1.UpdateUserRequest{UserId: other, Name: new("x")})
		wantFault(t, "UpdateUser("+other+", by another user)", err, fault.Forbidden, "own user")
	}
	_, err = manage.UpdateUser(me, &authv1.UpdateUserRequest{UserId: "crm|2", Disabled: new(false)})
	wantFault(t, "UpdateUser(disabled, by the user)", err, fault.Forbidden, "disabled")
}

// TestDisabledUsers: who is disabled is out at once and does not come in, by password, refresh or a token of whichever login system,
// however fresh; and comes in again once enabled.
func TestDisabledUsers(t *testing.T) {
	s := newSystem(t)
	client, manage := startBoth(t, s.config(t))
	other, _ := startBoth(t, s.config(t))
	backend := withScopes(t, caller.ScopeUsers)
	ann := register(t, client, "ann")
	id := ann.GetUser().GetId()
	if _, err := authenticate(t, client, signed(t, "crm|1", time.Now())); err != nil {
		t.Fatal(err)
	}
	revocations := subscribe(t, s.nc)
	last := int64(0)
	for _, user := range []string{id, "crm|1"} {
		for range 2 { // the second time changes nothing
			if p, err := manage.UpdateUser(backend, &authv1.UpdateUserRequest{UserId: user, Disabled: new(true)}); err != nil || !p.GetDisabled() {
				t.Errorf("UpdateUser(disabled) = %v, %v, want a disabled user", p, err)
			}
		}
		r := next(t, revocations)
		for r.GetId() == last { // told again, because nobody answered
			r = next(t, revocations)
		}
		if last = r.GetId(); r.GetUserId() != user || r.GetLoginId() != "" || r.GetGeneration() != 1 {
			t.Errorf("gateways hear %v, want a revocation of all of %s, also of tokens issued later", r, user)
		}
	}
	for _, replica := range []authv1.AuthServiceClient{client, other} {
		for what, token := range map[string]string{"access token": ann.GetAccessToken(), "fresh token of another login system": signed(t, "crm|1", time.Now().Add(10*time.Second))} {
			var err error
			for deadline := time.Now().Add(30 * time.Second); err == nil && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				_, err = authenticate(t, replica, token)
			}
			if refusal, ok := fault.RefusalOf(fault.FromStatus(err)); !ok || refusal.Reason != fault.ReasonDisabled || refusal.Message != "Invalid token" {
				t.Errorf("Authenticate(%s of a disabled user) = %v, want a refusal for %s", what, err, fault.ReasonDisabled)
			}
		}
	}
	_, err := refresh(t, client, ann.GetRefreshToken())
	wantFault(t, "Refresh(disabled)", err, fault.Unauthenticated, "")
	_, err = client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password})
	wantFault(t, "Login(disabled)", err, fault.Forbidden, "disabled")
	_, err = client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: "wrong horse"})
	wantFault(t, "Login(disabled, wrong password)", err, fault.Unauthenticated, "Wrong")

	if p, err := manage.UpdateUser(backend, &authv1.UpdateUserRequest{UserId: id, Disabled: new(false)}); err != nil || p.GetDisabled() {
		t.Errorf("UpdateUser(enabled) = %v, %v, want a user who is let in", p, err)
	}
	pair, err := client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatalf("Login(enabled again) = %v, want nil", err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) { // what is cached about ann ends
		if _, err = authenticate(t, other, pair.GetAccessToken()); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("Authenticate(enabled again) = %v, want nil", err)
	}
	_, err = authenticate(t, client, ann.GetAccessToken())
	wantFault(t, "Authenticate(token from before)", err, fault.Unauthenticated, "Invalid token")
}

// TestShutOutBehindAReplica: a replica that does not hear the bus goes by what it remembers. A token that it lets in although its user was
// disabled or deleted elsewhere is covered by the revocation, for gateways that hear of it later, whenever it was issued by whosever clock.
func TestShutOutBehindAReplica(t *testing.T) {
	s := newSystem(t)
	_, manage := startBoth(t, s.config(t))
	cut := *s
	cut.natsURL = settings.URL(bustest.Server(t).URL())
	there := start(t, cut.config(t))
	backend := withScopes(t, caller.ScopeUsers)
	for i, shut := range []func(id string) error{
		func(id string) error {
			_, err := manage.UpdateUser(backend, &authv1.UpdateUserRequest{UserId: id, Disabled: new(true)})
			return err
		},
		func(id string) error {
			_, err := manage.DeleteUser(backend, &authv1.DeleteUserRequest{UserId: id})
			return err
		},
	} {
		id := fmt.Sprintf("crm|%d", i)
		if _, err := authenticate(t, there, signed(t, id, time.Now())); err != nil {
			t.Fatal(err)
		}
		if err := shut(id); err != nil {
			t.Fatal(err)
		}
		identity, err := authenticate(t, there, signed(t, id, time.Now())) // by an issuer who knows nothing of it
		page, listErr := there.ListRevocations(t.Context(), &authv1.ListRevocationsRequest{AfterId: int64(i)})
		if listErr != nil || len(page.GetRevocations()) != 1 {
			t.Fatalf("ListRevocations() = %v, %v, want one", page, listErr)
		}
		t.Logf("user %d, behind the revocation: %v, %v", i, identity, err)
		if r := page.GetRevocations()[0]; err == nil && identity.GetGeneration() >= r.GetGeneration() {
			t.Errorf("let in as %v, want it covered by %v", identity, r)
		}
	}
}

// TestDeletedUsers: nothing of a person is left, nobody comes back under the id, and the user name is free.
func TestDeletedUsers(t *testing.T) {
	s := newSystem(t)
	_, told := chatService(t, s)
	client, manage := startBoth(t, s.config(t))
	backend := withScopes(t, caller.ScopeUsers)
	ann, err := client.Register(at(t, "192.0.2.55"), &authv1.RegisterRequest{Username: "ann", Password: password, Name: "Ann Person"})
	if err != nil {
		t.Fatal(err)
	}
	id := ann.GetUser().GetId()
	if _, err := manage.UpsertUsers(backend, &authv1.UpsertUsersRequest{Users: []*authv1.UserUpsert{
		{Id: id, AvatarUrl: new("https://crm.test/person.png"), DataJson: []byte(`{"phone":"person"}`)}, {Id: "crm|1", Name: new("Person")},
	}}); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{id, "crm|1"} {
		if _, err := manage.DeleteUser(backend, &authv1.DeleteUserRequest{UserId: user}); err != nil {
			t.Errorf("DeleteUser(%s) = %v, want nil", user, err)
		}
		_, err := manage.DeleteUser(backend, &authv1.DeleteUserRequest{UserId: user})
		wantFault(t, "DeleteUser(again)", err, fault.NotFound, "User not found")
		_, err = manage.GetUser(backend, &authv1.GetUserRequest{UserId: user})
		wantFault(t, "GetUser(deleted)", err, fault.NotFound, "User not found")
		_, err = manage.UpsertUsers(backend, &authv1.UpsertUsersRequest{Users: []*authv1.UserUpsert{{Id: user}}})
		wantFault(t, "UpsertUsers(deleted)", err, fault.Conflict, "deleted")
	}
	_, err = authenticate(t, client, signed(t, "crm|1", time.Now().Add(10*time.Second)))
	wantFault(t, "Authenticate(fresh token of a deleted user)", err, fault.Unauthenticated, "User not found")
	_, err = authenticate(t, client, ann.GetAccessToken())
	wantFault(t, "Authenticate(deleted)", err, fault.Unauthenticated, "User not found")
	_, err = client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password})
	wantFault(t, "Login(deleted)", err, fault.Unauthenticated, "Wrong")
	_, err = refresh(t, client, ann.GetRefreshToken())
	wantFault(t, "Refresh(deleted)", err, fault.Unauthenticated, "")
	gone := map[string]bool{}
	for len(gone) < 2 {
		if n := nextName(t, told); n.GetGone() {
			gone[n.GetUserId()] = true
		}
	}
	if !gone[id] || !gone["crm|1"] {
		t.Errorf("chat-service was told that %v are no more, want %s and crm|1", gone, id)
	}
	var left string
	if err := s.pool.QueryRow(t.Context(), `SELECT (SELECT string_agg(u::text, ' ') FROM users u) || coalesce((SELECT string_agg(l::text, ' ') FROM logins l), '')`).Scan(&left); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"ann,", "erson.", "\"Person", "Ann Person", "phone", "argon2id", "192.0.2.55"} {
		if strings.Contains(left, word) {
			t.Errorf("%q is left of a deleted user: %s", word, left)
		}
	}
	if again := register(t, client, "ann"); again.GetUser().GetId() == id {
		t.Error("Register() of a free user name gave the id of the deleted user")
	}
}

// TestSessions: a user sees the logins that have not ended, and ends one of them, nobody else's.
func TestSessions(t *testing.T) {
	s := newSystem(t)
	client, manage := startBoth(t, s.config(t))
	phone, err := client.Register(at(t, "192.0.2.1"), &authv1.RegisterRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	laptop, err := client.Login(at(t, "192.0.2.2"), &authv1.LoginRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	stranger := as(t, client, register(t, client, "bob").GetAccessToken())
	me := as(t, client, phone.GetAccessToken())
	list := func() []*authv1.Session {
		t.Helper()
		answer, err := manage.ListSessions(me, &authv1.ListSessionsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return answer.GetSessions()
	}
	all := list()
	if len(all) != 2 || all[0].GetAddress() != "192.0.2.2" || all[1].GetAddress() != "192.0.2.1" || all[0].GetCurrent() || !all[1].GetCurrent() || all[0].GetUsedAt() == "" || all[0].GetExpiresAt() <= all[0].GetCreatedAt() {
		t.Fatalf("ListSessions() = %v, want laptop and phone", all)
	}
	_, err = manage.EndSession(stranger, &authv1.EndSessionRequest{SessionId: all[0].GetId()})
	wantFault(t, "EndSession(another user's)", err, fault.NotFound, "Session not found")
	for _, bad := range []string{"", "x", "0197f000-0000-7000-8000-000000000001"} {
		_, err = manage.EndSession(me, &authv1.EndSessionRequest{SessionId: bad})
		wantFault(t, "EndSession("+bad+")", err, fault.NotFound, "Session not found")
	}
	revocations := subscribe(t, s.nc)
	if _, err := manage.EndSession(me, &authv1.EndSessionRequest{SessionId: all[0].GetId()}); err != nil {
		t.Errorf("EndSession(laptop) = %v, want nil", err)
	}
	if r := next(t, revocations); r.GetLoginId() != all[0].GetId() {
		t.Errorf("gateways hear %v, want the end of %s", r, all[0].GetId())
	}
	wantRefused(t, client, laptop.GetAccessToken(), "of an ended session")
	_, err = refresh(t, client, laptop.GetRefreshToken())
	wantFault(t, "Refresh(ended session)", err, fault.Unauthenticated, "")
	_, err = manage.EndSession(me, &authv1.EndSessionRequest{SessionId: all[0].GetId()})
	wantFault(t, "EndSession(again)", err, fault.NotFound, "Session not found")
	if rest := list(); len(rest) != 1 || !rest[0].GetCurrent() {
		t.Errorf("ListSessions() = %v, want the phone alone", rest)
	}
	_, err = manage.ListSessions(withScopes(t, caller.AllScopes()...), &authv1.ListSessionsRequest{})
	wantFault(t, "ListSessions(by a backend)", err, fault.Unauthenticated, "")
}

// TestChangePassword: the other logins end, this one does not, and nobody comes in with the old password.
func TestChangePassword(t *testing.T) {
	s := newSystem(t)
	client, manage := startBoth(t, s.config(t))
	here := register(t, client, "ann")
	there, err := client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	me := as(t, client, here.GetAccessToken())
	change := func(old, replacement string) (int32, error) {
		answer, err := manage.ChangePassword(me, &authv1.ChangePasswordRequest{OldPassword: old, NewPassword: replacement})
		return answer.GetEnded(), err
	}
	_, err = change("wrong horse", "another battery")
	wantFault(t, "ChangePassword(wrong old one)", err, fault.Forbidden, "old password")
	_, err = change("", "another battery")
	wantFault(t, "ChangePassword(no old one)", err, fault.Forbidden, "old password")
	_, err = change(password, "password1")
	wantFault(t, "ChangePassword(a common one)", err, fault.Invalid, "password")
	if ended, err := change(password, "another battery"); err != nil || ended != 1 {
		t.Errorf("ChangePassword() = %d, %v, want 1 ended", ended, err)
	}
	wantRefused(t, client, there.GetAccessToken(), "of another login")
	_, err = refresh(t, client, there.GetRefreshToken())
	wantFault(t, "Refresh(of another login)", err, fault.Unauthenticated, "")
	if _, err := authenticate(t, client, here.GetAccessToken()); err != nil {
		t.Errorf("Authenticate(this login) = %v, want nil", err)
	}
	if _, err := refresh(t, client, here.GetRefreshToken()); err != nil {
		t.Errorf("Refresh(this login) = %v, want nil", err)
	}
	_, err = client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password})
	wantFault(t, "Login(old password)", err, fault.Unauthenticated, "")
	if _, err := client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: "another battery"}); err != nil {
		t.Errorf("Login(new password) = %v, want nil", err)
	}
	for range 12 {
		_, err = change("wrong horse", "a third battery")
	}
	wantFault(t, "ChangePassword(13 wrong ones)", err, fault.RateLimited, "")
	identity, err := authenticate(t, client, signed(t, "crm|1", time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = manage.ChangePassword(asIdentity(t, identity), &authv1.ChangePasswordRequest{OldPassword: password, NewPassword: "another battery"})
	wantFault(t, "ChangePassword(user of another login system)", err, fault.Forbidden, "no password")
}
