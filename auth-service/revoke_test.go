package authservice

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// subscribe is a gateway that does not answer.
func subscribe(t *testing.T, nc *nats.Conn) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject.Revoked)
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return sub
}

func next(t *testing.T, sub *nats.Subscription) *eventv1.Revocation {
	t.Helper()
	msg, err := sub.NextMsg(30 * time.Second)
	if err != nil {
		t.Fatalf("wait for a revocation: %v", err)
	}
	var r eventv1.Revocation
	if err := proto.Unmarshal(msg.Data, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func TestRevokeUser(t *testing.T) {
	s := newSystem(t)
	here, there := start(t, s.config(t)), start(t, s.config(t))
	var gateways atomic.Int32
	for _, id := range []string{"g1", "g2", "g2"} { // one of them answers twice
		if _, err := s.nc.Subscribe(subject.Revoked, func(msg *nats.Msg) {
			gateways.Add(1)
			raw, _ := proto.Marshal(&eventv1.RevocationReply{GatewayId: id, Closed: 3})
			_ = msg.Respond(raw)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ann, bob := register(t, here, "ann"), register(t, here, "bob")
	for _, client := range []authv1.AuthServiceClient{here, there} { // cached in both
		if _, err := authenticate(t, client, ann.GetAccessToken()); err != nil {
			t.Fatal(err)
		}
	}
	request := &authv1.RevokeUserRequest{UserId: ann.GetUser().GetId()}
	_, err := here.RevokeUser(t.Context(), request)
	wantFault(t, "RevokeUser without key", err, fault.Unauthenticated, "API key required")
	_, err = here.RevokeUser(withScopes(t, caller.ScopeEmit), request)
	wantFault(t, "RevokeUser without scope", err, fault.Forbidden, "users")
	_, err = here.RevokeUser(withScopes(t, caller.ScopeUsers), &authv1.RevokeUserRequest{UserId: "nobody"})
	wantFault(t, "RevokeUser(nobody)", err, fault.NotFound, "")

	answer, err := here.RevokeUser(withScopes(t, caller.ScopeUsers), request)
	// Each gateway is counted once, if a busy machine has it answer in time.
	if closed := answer.GetClosed(); err != nil || closed > 6 || closed%3 != 0 {
		t.Errorf("RevokeUser() = %v, %v, want 6 closed by 2 gateways at most", answer, err)
	}
	// A login at once is not covered by the revocation, on any replica and for any gateway.
	login, err := there.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatalf("Login right after a revocation: %v", err)
	}
	page, err := there.ListRevocations(t.Context(), &authv1.ListRevocationsRequest{})
	if err != nil || len(page.GetRevocations()) != 1 || page.GetRevocations()[0].GetGeneration() != 0 {
		t.Fatalf("ListRevocations() = %v, %v, want one, which lets tokens in that are issued later", page, err)
	}
	for _, client := range []authv1.AuthServiceClient{here, there} {
		wantRefused(t, client, ann.GetAccessToken(), "revoked")
		identity, err := authenticate(t, client, login.GetAccessToken())
		if err != nil || identity.GetIssuedAt().AsTime().Before(page.GetRevocations()[0].GetRevokedAt().AsTime()) {
			t.Errorf("Authenticate(new login) = %v, %v, want issued after %v", identity, err, page.GetRevocations()[0])
		}
		if _, err := authenticate(t, client, bob.GetAccessToken()); err != nil {
			t.Errorf("Authenticate(bob) = %v, want nil", err)
		}
	}
	_, err = refresh(t, here, ann.GetRefreshToken())
	wantFault(t, "Refresh(revoked)", err, fault.Unauthenticated, "")
}

func TestLogout(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	phone := register(t, client, "ann")
	laptop, err := client.Login(t.Context(), &authv1.LoginRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	identity, err := authenticate(t, client, phone.GetAccessToken())
	if err != nil {
		t.Fatal(err)
	}
	revocations := subscribe(t, s.nc)
	for range 2 { // a repeated logout is fine
		if _, err := client.Logout(t.Context(), &authv1.LogoutRequest{RefreshToken: phone.GetRefreshToken()}); err != nil {
			t.Errorf("Logout() = %v, want nil", err)
		}
	}
	if r := next(t, revocations); r.GetLoginId() != identity.GetLoginId() || r.GetUserId() != identity.GetUserId() || r.GetId() != 1 {
		t.Errorf("published %v, want revocation 1 of login %s", r, identity.GetLoginId())
	}
	wantRefused(t, client, phone.GetAccessToken(), "logged out")
	if _, err := authenticate(t, client, laptop.GetAccessToken()); err != nil {
		t.Errorf("Authenticate(other login) = %v, want nil", err)
	}
	_, err = client.Logout(t.Context(), &authv1.LogoutRequest{RefreshToken: "x"})
	wantFault(t, "Logout(x)", err, fault.Invalid, "refreshToken")
}

func TestListRevocations(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	list := func(after int64, limit int32) (ids []int64, newest int64) {
		t.Helper()
		page, err := client.ListRevocations(t.Context(), &authv1.ListRevocationsRequest{AfterId: after, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.GetRevocations() {
			ids = append(ids, r.GetId())
		}
		return ids, page.GetNewestId()
	}
	if ids, newest := list(0, 0); len(ids) != 0 || newest != 0 {
		t.Errorf("ListRevocations() of an empty log = %v, newest %d, want none, 0", ids, newest)
	}
	// Logouts at once; a reader that follows the log misses none.
	const logouts = 30
	var all sync.WaitGroup
	for i := range logouts {
		pair := register(t, client, "user"+string(rune('a'+i%26))+strings.Repeat("x", 2+i/26))
		all.Go(func() {
			if _, err := client.Logout(t.Context(), &authv1.LogoutRequest{RefreshToken: pair.GetRefreshToken()}); err != nil {
				t.Errorf("Logout() = %v, want nil", err)
			}
		})
	}
	var seen []int64
	for deadline := time.Now().Add(30 * time.Second); len(seen) < logouts && time.Now().Before(deadline); {
		after := int64(0)
		if n := len(seen); n > 0 {
			after = seen[n-1]
		}
		ids, newest := list(after, 7)
		if seen = append(seen, ids...); len(seen) > 0 && seen[len(seen)-1] > newest {
			t.Errorf("newest id is %d, want at least %d", newest, seen[len(seen)-1])
		}
	}
	all.Wait()
	for i, id := range seen {
		if id != int64(i+1) {
			t.Fatalf("the log reads %v, want 1 to %d without holes", seen, logouts)
		}
	}
	if ids, newest := list(-1, 0); len(ids) != 0 || newest != logouts || len(seen) != logouts {
		t.Errorf("ListRevocations(-1) = %v, newest %d after %d read, want none, %d", ids, newest, len(seen), logouts)
	}
	_, err := client.ListRevocations(t.Context(), &authv1.ListRevocationsRequest{Limit: 1001})
	wantFault(t, "ListRevocations(limit 1001)", err, fault.Invalid, "limit")
}

func TestForgottenRevocationsAreAnnounced(t *testing.T) {
	s := newSystem(t)
	revocations := subscribe(t, s.nc)
	// A replica that died between commit and announcement left this.
	if _, err := s.pool.Exec(t.Context(), `WITH h AS (UPDATE revocation_head SET id = 1)
INSERT INTO revocations (id, user_id, revoked_at) VALUES (1, 'ann', now())`); err != nil {
		t.Fatal(err)
	}
	start(t, s.config(t))
	if r := next(t, revocations); r.GetId() != 1 || r.GetUserId() != "ann" {
		t.Errorf("announced %v, want revocation 1", r)
	}
}
