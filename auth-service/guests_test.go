package authservice

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	"github.com/starling-chat/starling/proto/limits"
)

func (s *system) guestConfig(t *testing.T) Config {
	t.Helper()
	cfg := s.config(t)
	cfg.Accounts.Guests = true
	return cfg
}

func newGuest(t *testing.T, client authv1.AuthServiceClient, name string) *authv1.LoginResponse {
	t.Helper()
	pair, err := client.Guest(t.Context(), &authv1.GuestRequest{Name: name})
	if err != nil {
		t.Fatalf("Guest(%s): %v", name, err)
	}
	return pair
}

// TestGuests: a guest has tokens like others, whose role and id say what it is, on every replica; and they end like those of others.
func TestGuests(t *testing.T) {
	s := newSystem(t)
	client, manage := startBoth(t, s.guestConfig(t))
	other := start(t, s.guestConfig(t))
	zoe, nameless := newGuest(t, client, " Zoë\u202e "), newGuest(t, client, "\u200b")
	user := zoe.GetUser()
	if !limits.IsGuestID(user.GetId()) || user.GetName() != "Zoë" || user.GetRole() != "guest" || user.GetUsername() != "" || zoe.GetExpiresIn() != 900 {
		t.Errorf("Guest() = %v, %d s, want a guest called Zoë, 900 s", user, zoe.GetExpiresIn())
	}
	if name := nameless.GetUser().GetName(); name != "Guest" || nameless.GetUser().GetId() == user.GetId() {
		t.Errorf("a guest without a name is %v, want another one called Guest", nameless.GetUser())
	}
	second, err := refresh(t, other, zoe.GetRefreshToken())
	if err != nil || second.GetUser().GetId() != user.GetId() || second.GetUser().GetRole() != "guest" {
		t.Fatalf("Refresh(guest) = %v, %v, want the same guest", second.GetUser(), err)
	}
	for _, replica := range []authv1.AuthServiceClient{client, other} {
		identity, err := authenticate(t, replica, second.GetAccessToken())
		if err != nil || identity.GetUserId() != user.GetId() || identity.GetName() != "Zoë" || identity.GetRole() != "guest" || identity.GetLoginId() == "" {
			t.Errorf("Authenticate(guest) = %v, %v, want %v", identity, err, user)
		}
	}
	me := as(t, client, second.GetAccessToken())
	p, err := manage.UpdateUser(me, &authv1.UpdateUserRequest{UserId: user.GetId(), Name: new("Zoë B.")})
	if err != nil || p.GetName() != "Zoë B." || p.GetRole() != "guest" {
		t.Errorf("UpdateUser(own name of a guest) = %v, %v, want Zoë B., a guest", p, err)
	}
	_, err = manage.ChangePassword(me, &authv1.ChangePasswordRequest{OldPassword: password, NewPassword: "battery staple"})
	wantFault(t, "ChangePassword(guest)", err, fault.Forbidden, "")

	if _, err := client.Logout(t.Context(), &authv1.LogoutRequest{RefreshToken: second.GetRefreshToken()}); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, other, second.GetAccessToken(), "of a guest who has left")
	_, err = refresh(t, client, second.GetRefreshToken())
	wantFault(t, "Refresh(guest who has left)", err, fault.Unauthenticated, "")
	if _, err := client.RevokeUser(withScopes(t, caller.ScopeUsers), &authv1.RevokeUserRequest{UserId: nameless.GetUser().GetId()}); err != nil {
		t.Errorf("RevokeUser(guest) = %v, want nil", err)
	}
	wantRefused(t, other, nameless.GetAccessToken(), "of a guest who was revoked")
}

// TestNoGuests: while the operator does not let guests in there are none, and those who were there are kept out; once they are let in again
// nothing is lost.
func TestNoGuests(t *testing.T) {
	s := newSystem(t)
	on, off := start(t, s.guestConfig(t)), start(t, s.config(t))
	_, err := off.Guest(t.Context(), &authv1.GuestRequest{Name: "Zoë"})
	wantFault(t, "Guest() while guests are off", err, fault.Forbidden, "Guests are not let in")
	guest, ann := newGuest(t, on, "Zoë"), register(t, on, "ann")
	_, err = authenticate(t, off, guest.GetAccessToken())
	if refusal, ok := fault.RefusalOf(fault.FromStatus(err)); !ok || refusal.Reason != fault.ReasonDisabled {
		t.Errorf("Authenticate(guest) while guests are off = %v, want a refusal for %s", err, fault.ReasonDisabled)
	}
	for range 2 {
		_, err = refresh(t, off, guest.GetRefreshToken())
		wantFault(t, "Refresh(guest) while guests are off", err, fault.Forbidden, "Guests are not let in")
	}
	if _, err := refresh(t, on, guest.GetRefreshToken()); err != nil {
		t.Errorf("Refresh(guest) where they are let in = %v, want nil: it was not spent", err)
	}
	if _, err := authenticate(t, off, ann.GetAccessToken()); err != nil {
		t.Errorf("Authenticate(user) while guests are off = %v, want nil", err)
	}
	if _, err := refresh(t, off, ann.GetRefreshToken()); err != nil {
		t.Errorf("Refresh(user) while guests are off = %v, want nil", err)
	}
}

// TestGuestsAreCounted: an address may make so many, others have theirs; every try is logged and counted, with its result.
func TestGuestsAreCounted(t *testing.T) {
	s := newSystem(t)
	cfg := s.guestConfig(t)
	cfg.Limits.GuestRate, cfg.Limits.GuestBurst = 0.001, 2
	log := new(records)
	conn := launchWith(t, cfg, slog.New(slog.NewJSONHandler(log, nil)))
	waitReady(t, conn)
	client := authv1.NewAuthServiceClient(conn)
	for i := range 3 {
		_, err := client.Guest(at(t, "192.0.2.7"), &authv1.GuestRequest{Name: "a-name-that-was-typed"})
		if want := map[bool]fault.Kind{true: "", false: fault.RateLimited}[i < 2]; fault.KindOf(fault.FromStatus(err)) != want {
			t.Errorf("guest %d from an address = %v, want %q", i+1, err, want)
		}
		if f, ok := errors.AsType[*fault.Error](fault.FromStatus(err)); ok && f.RetryAfter <= 0 {
			t.Errorf("%v does not say when to try again", f)
		}
	}
	if _, err := client.Guest(at(t, "192.0.2.8"), &authv1.GuestRequest{}); err != nil {
		t.Errorf("a guest from another address = %v, want nil", err)
	}
	for result, want := range map[string]int{"ok": 3, "limited": 1} {
		found := log.events(t, "guest", result)
		if len(found) != want || found[0]["address"] != "192.0.2.7" || (result == "ok") != (found[0]["user_id"] != nil) {
			t.Errorf("events guest %s = %v, want %d", result, found, want)
		}
	}
	if strings.Contains(log.text(), "a-name-that-was-typed") {
		t.Error("the log has what somebody typed")
	}
}

// TestGuestsEnd: the life of a guest is that of its refresh token, which is the guests' and not that of others, from each refresh on.
func TestGuestsEnd(t *testing.T) {
	s := newSystem(t)
	cfg := s.guestConfig(t)
	cfg.Accounts.GuestTTL = 2 * time.Hour
	client := start(t, cfg)
	guest, ann := newGuest(t, client, ""), register(t, client, "ann")
	life := func(id string) (newest time.Duration) {
		t.Helper()
		if err := s.pool.QueryRow(t.Context(), `SELECT max(t.expires_at) - now() FROM refresh_tokens t JOIN logins l ON l.id = t.login_id
			WHERE l.user_id = $1`, id).Scan(&newest); err != nil {
			t.Fatal(err)
		}
		return newest
	}
	within := func(got, want time.Duration) bool { return got <= want && got > want-time.Hour }
	for _, step := range []string{"new", "refreshed"} {
		if got := life(guest.GetUser().GetId()); !within(got, 2*time.Hour) {
			t.Errorf("a %s guest lives for %v, want 2h", step, got)
		}
		if got := life(ann.GetUser().GetId()); !within(got, 720*time.Hour) {
			t.Errorf("a %s login of a user lives for %v, want 720h", step, got)
		}
		var err error
		if guest, err = refresh(t, client, guest.GetRefreshToken()); err != nil {
			t.Fatal(err)
		}
		if ann, err = refresh(t, client, ann.GetRefreshToken()); err != nil {
			t.Fatal(err)
		}
	}
}
