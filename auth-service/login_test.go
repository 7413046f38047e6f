package authservice

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// TestGuesserDoesNotLockOut: who guesses passwords locks themselves out, and nobody else; from many addresses they lock out other
// addresses that nobody knows, until the service has seen the user there, by a login or a refresh.
func TestGuesserDoesNotLockOut(t *testing.T) {
	s := newSystem(t)
	cfg := s.config(t)
	cfg.Limits.UserBurst = 40
	client := start(t, cfg)
	home, office := at(t, "198.51.100.1"), at(t, "127.0.0.9")
	pair, err := client.Register(home, &authv1.RegisterRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	login := func(address, secret string) error {
		_, err := client.Login(at(t, address), &authv1.LoginRequest{Username: "ann", Password: secret})
		return err
	}
	for range 10 {
		wantFault(t, "Login(wrong password)", login("127.0.0.8", "wrong horse"), fault.Unauthenticated, "")
	}
	wantFault(t, "Login() of the guesser, at last with the right password", login("127.0.0.8", password), fault.RateLimited, "")
	if err := login("203.0.113.200", password); err != nil {
		t.Errorf("Login() from an address that nobody knows = %v, want nil", err)
	}
	for i := range 60 {
		_ = login(fmt.Sprintf("203.0.113.%d", i), "wrong horse")
	}
	wantFault(t, "Login() from an unknown address, after guesses from everywhere", login("203.0.113.201", password), fault.RateLimited, "")
	if _, err := client.Login(home, &authv1.LoginRequest{Username: "ann", Password: password}); err != nil {
		t.Errorf("Login() from where ann registered = %v, want nil", err)
	}
	if _, err := client.Refresh(office, &authv1.RefreshRequest{RefreshToken: pair.GetRefreshToken()}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Login(office, &authv1.LoginRequest{Username: "ann", Password: password}); err != nil {
		t.Errorf("Login() from where ann has refreshed a token = %v, want nil", err)
	}
}

// TestLoginDuringAFlood: while three addresses try unknown users without end, somebody else logs in, and nobody waits for longer
// than the queue says.
func TestLoginDuringAFlood(t *testing.T) {
	s := newSystem(t)
	cfg := s.config(t)
	cfg.Passwords.MemoryKiB, cfg.Passwords.Time, cfg.Passwords.Concurrency, cfg.Passwords.Queue = 4<<10, 1, 1, 20
	cfg.Passwords.Wait = 30 * time.Second
	cfg.Limits.AddressRate = 0
	client := start(t, cfg)
	if _, err := client.Register(at(t, "198.51.100.1"), &authv1.RegisterRequest{Username: "ann", Password: password}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var flood sync.WaitGroup
	for i := range 115 {
		ctx := at(t, fmt.Sprintf("203.0.113.%d", i%3))
		flood.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				_, err := client.Login(ctx, &authv1.LoginRequest{Username: fmt.Sprintf("nobody%d-%d", i, n), Password: password})
				if kind := fault.KindOf(fault.FromStatus(err)); kind != fault.RateLimited && kind != fault.Unauthenticated {
					t.Errorf("Login(unknown) in a flood = %v, want %s or %s", err, fault.RateLimited, fault.Unauthenticated)
					return
				}
			}
		})
	}
	for i := range 3 {
		if _, err := client.Login(at(t, fmt.Sprintf("198.51.100.%d", i+10)), &authv1.LoginRequest{Username: "ann", Password: password}); err != nil {
			t.Errorf("Login() during a flood = %v, want nil", err)
		}
	}
	close(done)
	flood.Wait()
}

// TestWrongTokensOfAnAddress: wrong refresh tokens and API keys cost a look-up each, so an address has a limit for them; it holds for
// logouts too. Who has shown a right one does not notice.
func TestWrongTokensOfAnAddress(t *testing.T) {
	s := newSystem(t)
	cfg := s.config(t)
	cfg.Limits.SecretBurst = 9
	client := start(t, cfg)
	home, away := at(t, "198.51.100.1"), at(t, "203.0.113.1")
	pair, err := client.Register(home, &authv1.RegisterRequest{Username: "ann", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	key := func(ctx context.Context, key string) error {
		_, err := client.AuthenticateKey(ctx, &authv1.AuthenticateKeyRequest{Key: key})
		return err
	}
	refresh := func(token string) error {
		_, err := client.Refresh(home, &authv1.RefreshRequest{RefreshToken: token})
		return err
	}
	logout := func(token string) error {
		_, err := client.Logout(home, &authv1.LogoutRequest{RefreshToken: token})
		return err
	}
	unknown := func(i int) string { return base64.RawURLEncoding.EncodeToString(slices.Repeat([]byte{byte(i)}, 32)) }
	if err := key(home, apiKey); err != nil {
		t.Errorf("AuthenticateKey() = %v, want nil", err)
	}
	for i := range 3 {
		wantFault(t, "Refresh(unknown)", refresh(unknown(i)), fault.Unauthenticated, "")
		wantFault(t, "AuthenticateKey(unknown)", key(home, unknown(i)), fault.Unauthenticated, "")
		if err := logout(unknown(i)); err != nil {
			t.Errorf("Logout(unknown) = %v, want nil", err)
		}
	}
	wantFault(t, "Refresh(unknown) beyond the limit", refresh(unknown(7)), fault.RateLimited, "")
	wantFault(t, "AuthenticateKey(unknown) beyond the limit", key(home, unknown(7)), fault.RateLimited, "")
	wantFault(t, "Logout(unknown) beyond the limit", logout(unknown(7)), fault.RateLimited, "")
	for what, err := range map[string]error{
		"AuthenticateKey(right), seen before": key(home, apiKey), "AuthenticateKey(right), elsewhere": key(away, apiKey),
		"Refresh(given out here)": refresh(pair.GetRefreshToken()), "Logout(given out here)": logout(pair.GetRefreshToken()),
	} {
		if err != nil {
			t.Errorf("%s = %v, want nil", what, err)
		}
	}
}

func TestPasswordForms(t *testing.T) {
	s := newSystem(t)
	client := start(t, s.config(t))
	ctx := t.Context()
	login := func(username, secret string) error {
		_, err := client.Login(ctx, &authv1.LoginRequest{Username: username, Password: secret})
		return err
	}
	composed := norm.NFC.String("crème brûlée à l'étang")
	decomposed := norm.NFD.String(composed)
	if _, err := client.Register(ctx, &authv1.RegisterRequest{Username: " Zoe\u3000", Password: decomposed}); err != nil {
		t.Fatal(err)
	}
	for _, username := range []string{"zoe", "ZOE", " zoe", "zoe\n"} {
		for _, secret := range []string{composed, decomposed} {
			if err := login(username, secret); err != nil {
				t.Errorf("Login(%q, %d bytes) = %v, want nil", username, len(secret), err)
			}
		}
	}
	_, err := client.Register(ctx, &authv1.RegisterRequest{Username: "zoe ", Password: composed})
	wantFault(t, "Register(the same name with a blank)", err, fault.Conflict, "")

	// A hash of an earlier release is of what was typed; the first login brings it to today's form.
	salt := []byte("0123456789abcdef")
	b64 := base64.RawStdEncoding
	old := fmt.Sprintf("$argon2id$v=19$m=64,t=1,p=1$%s$%s", b64.EncodeToString(salt), b64.EncodeToString(argon2.IDKey([]byte(decomposed), salt, 1, 64, 1, 32)))
	if _, err := s.pool.Exec(ctx, `UPDATE users SET password_hash = $1`, old); err != nil {
		t.Fatal(err)
	}
	wantFault(t, "Login(other form than an old hash is of)", login("zoe", composed), fault.Unauthenticated, "")
	for _, secret := range []string{decomposed, composed} {
		if err := login("zoe", secret); err != nil {
			t.Errorf("Login(%d bytes) once the old hash was brought to today's form = %v, want nil", len(secret), err)
		}
	}

	for what, r := range map[string]*authv1.RegisterRequest{
		"a common password":           {Username: "bob", Password: "iloveyou"},
		"a common password, shouted":  {Username: "bob", Password: "QWERTYUIOP"},
		"the user name":               {Username: "bob.the.builder", Password: "bob.the.builder"},
		"the user name in other case": {Username: "bob.the.builder", Password: "Bob.The.Builder1"},
	} {
		_, err := client.Register(ctx, r)
		wantFault(t, "Register("+what+")", err, fault.Invalid, "password")
		if strings.Contains(err.Error(), r.GetPassword()) {
			t.Errorf("the refusal of %s shows the password: %v", what, err)
		}
	}
}
