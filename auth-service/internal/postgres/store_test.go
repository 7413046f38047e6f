package postgres

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/proto/fault"
)

const login1, login2 = auth.LoginID("0197f000-0000-7000-8000-000000000001"), auth.LoginID("0197f000-0000-7000-8000-000000000002")

func TestFirstKeyIsMadeOnce(t *testing.T) {
	s := NewStore(pgtest.Pool(t, Migrations(), "auth"))
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			_, err := s.EditSigningKeys(t.Context(), func(have []auth.StoredKey, now time.Time) (auth.KeyEdit, error) {
				if len(have) > 0 {
					return auth.KeyEdit{}, nil
				}
				return auth.KeyEdit{Put: []auth.StoredKey{{ID: string(rune('a' + i)), Private: []byte{1}, SignsFrom: now}}}, nil
			})
			if err != nil {
				t.Errorf("EditSigningKeys() = %v, want nil", err)
			}
		})
	}
	all.Wait()
	keys, now, err := s.SigningKeys(t.Context())
	if err != nil || len(keys) != 1 || now.Before(keys[0].SignsFrom) {
		t.Errorf("SigningKeys() = %v, %v, %v, want one key", keys, now, err)
	}
	_, err = s.EditSigningKeys(t.Context(), func([]auth.StoredKey, time.Time) (auth.KeyEdit, error) {
		return auth.KeyEdit{Remove: []string{keys[0].ID}}, nil
	})
	if keys, _, _ = s.SigningKeys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("keys after removal = %v, %v, want none", keys, err)
	}
}

func TestUsers(t *testing.T) {
	s := NewStore(pgtest.Pool(t, Migrations(), "auth"))
	ctx := t.Context()
	ann := auth.User{ID: "1", Username: "ann", Name: "Ann", Role: auth.RoleUser}
	if err := s.CreateUser(ctx, ann, "hash"); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateUser(ctx, auth.User{ID: "2", Username: "ann", Name: "A", Role: auth.RoleUser}, "hash"); !errors.Is(err, auth.ErrUsernameTaken) {
		t.Errorf("CreateUser(taken) = %v, want %v", err, auth.ErrUsernameTaken)
	}
	for range 2 {
		if u, err := s.Provision(ctx, []auth.User{{ID: "1", Name: "Mallory", Role: auth.RoleAdmin}}); err != nil || u[0] != (auth.User{}) {
			t.Errorf("Provision(existing) = %v, %v, want nobody", u, err)
		}
	}
	bob := auth.User{ID: "9", Name: "Bob", Role: auth.RoleUser, DescribedAt: time.UnixMilli(1_700_000_000_000)}
	made, err := s.Provision(ctx, []auth.User{bob, {ID: "1", Name: "Mallory", Role: auth.RoleAdmin}, {ID: "10", Name: "10", Role: auth.RoleAdmin}, bob})
	if err != nil || len(made) != 4 || made[1] != (auth.User{}) || made[0] != made[3] {
		t.Fatalf("Provision(several) = %v, %v, want the first and the last alike, and nobody for the one who exists", made, err)
	}
	if u := made[0]; !u.DescribedAt.Equal(bob.DescribedAt) || u.ID != "9" || u.Name != "Bob" || u.Role != auth.RoleUser || u.NameVersion == 0 {
		t.Errorf("Provision(new) = %v, want %v as it was given, with a name that others are to hear of", u, bob)
	}
	if u := made[2]; u.ID != "10" || u.Role != auth.RoleAdmin || !u.DescribedAt.IsZero() || u.NameVersion != 0 {
		t.Errorf("Provision(new, without a name) = %v, want an admin called by the id", u)
	}
	if err := s.ReplaceHash(ctx, "1", "another", "stolen"); err != nil {
		t.Error(err)
	}
	u, hash, err := s.Credentials(ctx, "ann")
	if u.NameVersion == 0 {
		t.Error("the name of a new user has no version, so that nobody hears of it")
	}
	u.NameVersion = 0 // a time
	if u != ann || hash != "hash" || err != nil {
		t.Errorf("Credentials(ann) = %v, %s, %v, want %v, hash", u, hash, err, ann)
	}
	if _, _, err := s.Credentials(ctx, "bob"); !errors.Is(err, auth.ErrUserNotFound) {
		t.Errorf("Credentials(bob) = %v, want %v", err, auth.ErrUserNotFound)
	}
	stale := ann
	if _, err := s.RevokeUser(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.BeginLogin(ctx, stale, auth.NewLogin{ID: login1, Token: auth.TokenHash{1}, TTL: time.Hour}); !errors.Is(err, auth.ErrStale) {
		t.Errorf("BeginLogin() with credentials read before a revocation = %v, want %v", err, auth.ErrStale)
	}
}

func TestPrune(t *testing.T) {
	pool := pgtest.Pool(t, Migrations(), "auth")
	s := NewStore(pool)
	ctx := t.Context()
	ann := auth.User{ID: "1", Username: "ann", Name: "Ann", Role: auth.RoleUser}
	if err := s.CreateUser(ctx, ann, "hash"); err != nil {
		t.Fatal(err)
	}
	for login, ttl := range map[auth.LoginID]time.Duration{login1: time.Hour, login2: -time.Second} {
		if _, err := s.BeginLogin(ctx, ann, auth.NewLogin{ID: login, Token: auth.TokenHash{login[35]}, TTL: ttl}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.EndLogin(ctx, auth.TokenHash{'1'}); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkAnnounced(ctx, []int64{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	var logins []string
	if err := pool.QueryRow(ctx, `SELECT array_agg(id::text) FROM logins`).Scan(&logins); err != nil || !slices.Equal(logins, []string{string(login1)}) {
		t.Errorf("logins after Prune = %v, %v, want only the unexpired one", logins, err)
	}
	if page, err := s.Revocations(ctx, 0, 10); err != nil || len(page.Revocations) != 1 || page.NewestID != 1 {
		t.Errorf("revocations after Prune(1h) = %v, %v, want one", page, err)
	}
	if _, err := s.Prune(ctx, 0); err != nil {
		t.Fatal(err)
	}
	// The newest id outlives its row: gateways must never see it go back.
	if page, err := s.Revocations(ctx, 0, 10); err != nil || len(page.Revocations) != 0 || page.NewestID != 1 {
		t.Errorf("revocations after Prune(0) = %v, %v, want none, newest 1", page, err)
	}
}

func TestUnmigratedIsUnavailable(t *testing.T) {
	s := NewStore(pgtest.Pool(t, nil, "auth"))
	if _, _, err := s.Credentials(t.Context(), "ann"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Credentials() before the migration = %v, want %s", err, fault.Unavailable)
	}
}

// TestGuestsAreForgotten: a guest goes with the last trace of its login, and nobody else does.
func TestGuestsAreForgotten(t *testing.T) {
	pool := pgtest.Pool(t, Migrations(), "auth")
	s := NewStore(pool)
	ctx := t.Context()
	login := func(ttl time.Duration, n byte) auth.NewLogin {
		return auth.NewLogin{ID: auth.LoginID("0197f000-0000-7000-8000-00000000001" + string('0'+n)), Token: auth.TokenHash{n}, TTL: ttl}
	}
	id := func(n string) auth.UserID { return auth.UserID("guest:0197f000-0000-7000-8000-00000000002" + n) }
	for n, ttl := range []time.Duration{time.Hour, time.Hour, -time.Second} {
		g, err := s.BeginGuest(ctx, auth.User{ID: id(string(rune('0' + n))), Name: "Guest"}, login(ttl, byte(n)))
		if err != nil || g.User.Role != auth.RoleGuest || g.User.NameVersion == 0 || g.LoginID == "" {
			t.Fatalf("BeginGuest() = %+v, %v, want a guest with a login", g, err)
		}
	}
	if _, err := s.EndLogin(ctx, auth.TokenHash{1}); err != nil { // may still be asked about
		t.Fatal(err)
	}
	for _, u := range []auth.User{{ID: "1", Username: "ann", Name: "Ann", Role: auth.RoleUser}} {
		if err := s.CreateUser(ctx, u, "hash"); err != nil {
			t.Fatal(err)
		}
	}
	for _, foreign := range []auth.UserID{"guest:bob", id("9")} {
		if _, err := s.Provision(ctx, []auth.User{{ID: foreign, Name: "Bob", Role: auth.RoleUser}}); err != nil {
			t.Fatal(err)
		}
	}
	everybody := []auth.UserID{id("0"), id("1"), id("2"), id("9"), "guest:bob", "1"}
	for range 2 { // the second time its login is gone
		if err := s.Left(ctx, everybody); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Prune(ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		over, err := s.Gone(ctx, 10)
		if err != nil || len(over) > 0 && !slices.Equal(over, []auth.UserID{id("2")}) {
			t.Errorf("Gone() = %v, %v, want %s at most", over, err, id("2"))
		}
	}
	var left []string
	if err := pool.QueryRow(ctx, `SELECT array_agg(id ORDER BY id) FROM users`).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1", string(id("0")), string(id("1")), string(id("9")), "guest:bob"}; !slices.Equal(left, want) {
		t.Errorf("users after Prune = %v, want %v", left, want)
	}
	if states, err := s.States(ctx, []auth.Who{{User: id("2")}}); err != nil || states[0].User.ID != "" {
		t.Errorf("States(guest who is over) = %v, %v, want nobody", states, err)
	}
}
