package auth

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/auth-service/internal/admission"
	"github.com/starling-chat/starling/proto/fault"
)

// memory keeps keys and one user: as much of a Store as verifying tokens needs. Everything else is tested on PostgreSQL.
type memory struct {
	Store
	mu    sync.Mutex
	keys  []StoredKey
	now   time.Time
	state State
	err   error
	reads int
}

func (m *memory) SigningKeys(context.Context) ([]StoredKey, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	return slices.Clone(m.keys), m.now, m.err
}

func (m *memory) EditSigningKeys(_ context.Context, plan func([]StoredKey, time.Time) (KeyEdit, error)) ([]StoredKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	edit, err := plan(slices.Clone(m.keys), m.now)
	for _, put := range edit.Put {
		m.keys = slices.DeleteFunc(m.keys, func(k StoredKey) bool { return k.ID == put.ID })
		m.keys = append(m.keys, put)
	}
	m.keys = slices.DeleteFunc(m.keys, func(k StoredKey) bool { return slices.Contains(edit.Remove, k.ID) })
	slices.SortFunc(m.keys, func(a, b StoredKey) int { return a.SignsFrom.Compare(b.SignsFrom) })
	return slices.Clone(m.keys), err
}

func (m *memory) States(_ context.Context, whose []Who) ([]State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	states := make([]State, len(whose))
	for i, w := range whose {
		if w.User == m.state.User.ID {
			states[i] = m.state
		}
	}
	return states, m.err
}

func (m *memory) DatedAhead(_ context.Context, user UserID, _ time.Time) (User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if user != m.state.User.ID {
		return User{}, ErrUserNotFound
	}
	return m.state.User, m.err
}

func (m *memory) Describe(context.Context, UserID, Description) (User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.User, m.err
}

// recorded keeps events.
type recorded struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorded) Record(_ context.Context, e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorded) last() Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[len(r.events)-1]
}

func testConfig() Config {
	return Config{
		Tokens:       Tokens{AccessTTL: 15 * time.Minute, RefreshTTL: time.Hour, Issuer: "starling", Audience: "starling", Leeway: 30 * time.Second},
		Keys:         Keys{Rotation: 720 * time.Hour, Overlap: time.Hour},
		Passwords:    Passwords{Argon2: Argon2{MemoryKiB: 64, Time: 1, Threads: 1}, Concurrency: 1, Queue: 1, Wait: time.Minute},
		Registration: true,
	}
}

func newTestService(t testing.TB, cfg Config) (*Service, *memory) {
	t.Helper()
	store := &memory{now: time.Now(), state: State{User: User{ID: "ann", Name: "Ann", Role: RoleUser}, LoginAlive: true}}
	s, err := New(cfg, store, nil, new(recorded), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, store
}

func TestUserInput(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"short username", second(parseUsername("ab")), "username"},
		{"long username", second(parseUsername(strings.Repeat("a", 33))), "username"},
		{"space in username", second(parseUsername("a b c")), "username"},
		{"foreign username", second(parseUsername("zoë")), "username"},
		{"good username", second(parseUsername("Ann.B_-9")), ""},
		{"short password", second(newPassword("1234567", "ann")), "password"},
		{"long password", second(newPassword(strings.Repeat("x", 201), "ann")), "password"},
		{"password of 200 wide characters", second(newPassword(strings.Repeat("ß", 200), "ann")), ""},
		{"password of 200 characters of two code points", second(newPassword(strings.Repeat("e\u0301", 200), "ann")), ""},
		{"password of 4 characters of two code points", second(newPassword(strings.Repeat("e\u0301", 4), "ann")), "password"},
		{"password that is no UTF-8", second(newPassword("\xff\xfe345678", "ann")), "password"},
		{"common password", second(newPassword("12345678", "ann")), "password"},
		{"common password, capital", second(newPassword("Password1", "ann")), "password"},
		{"common password, wide", second(newPassword("ｐａｓｓｗｏｒｄ", "ann")), "password"},
		{"common password, blanks around", second(newPassword(" password ", "ann")), "password"},
		{"first of the list", second(newPassword("!qaz2wsx", "ann")), "password"},
		{"username as password", second(newPassword("annabell", "annabell")), "password"},
		{"username as password, other case", second(newPassword("AnnaBell", "annabell")), "password"},
		{"username twice", second(newPassword("bobbobbob", "bob")), "password"},
		{"username and a number", second(newPassword("annabell1", "annabell")), "password"},
		{"username and more", second(newPassword("annabell in the garden", "annabell")), ""},
		{"passphrase", second(newPassword("correct horse", "ann")), ""},
		{"empty id", second(ParseUserID("")), "userId"},
		{"id with NUL", second(ParseUserID("a\x00")), "userId"},
		{"long id", second(ParseUserID(strings.Repeat("i", 129))), "userId"},
		{"id of the System", second(ParseUserID("system")), "userId"},
		{"good id", second(ParseUserID("ünï cöde|42")), ""},
	} {
		got := ""
		if tc.err != nil {
			f, ok := errors.AsType[*fault.Error](tc.err)
			if !ok {
				t.Fatalf("%s: error %v, want a fault", tc.name, tc.err)
			}
			got, _, _ = strings.Cut(f.Message, " ")
		}
		if got != tc.want {
			t.Errorf("%s: error %v names %q, want %q", tc.name, tc.err, got, tc.want)
		}
	}
	for _, typed := range []string{"AnN", " ann", "ann ", "\tann\n", "\u3000ann\u00a0"} {
		if got, err := parseUsername(typed); got != "ann" {
			t.Errorf("parseUsername(%q) = %q, %v, want ann", typed, got, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestPasswords(t *testing.T) {
	h := newHasher(Passwords{Argon2: Argon2{MemoryKiB: 64, Time: 1, Threads: 2}, Concurrency: 1, Queue: 1})
	encoded, err := h.hash(t.Context(), admission.Party{}, "correct horse")
	if err != nil || !strings.HasPrefix(encoded, "$argon2id$v=19$m=64,t=1,p=2$") {
		t.Fatalf("hash() = %q, %v, want a PHC string", encoded, err)
	}
	if again, _ := h.hash(t.Context(), admission.Party{}, "correct horse"); again == encoded {
		t.Error("two hashes of one password are equal, want different salts")
	}
	stronger := newHasher(Passwords{Argon2: Argon2{MemoryKiB: 128, Time: 1, Threads: 2}, Concurrency: 1})
	for _, tc := range []struct {
		h         *hasher
		password  password
		encoded   string
		ok, stale bool
	}{
		{h, "correct horse", encoded, true, false},
		{h, "correct horsf", encoded, false, false},
		{h, "", h.dummy, false, false},
		{stronger, "correct horse", encoded, true, true},
	} {
		ok, stale, err := tc.h.verify(t.Context(), admission.Party{}, tc.password, tc.encoded)
		if ok != tc.ok || stale != tc.stale || err != nil {
			t.Errorf("verify(%q, %q) = %v, %v, %v, want %v, %v", tc.password, tc.encoded, ok, stale, err, tc.ok, tc.stale)
		}
	}
	for _, bad := range []string{
		"", "x", "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", "$argon2id$v=19$m=64,t=1,p=1$$",
	} {
		if _, _, err := h.verify(t.Context(), admission.Party{}, "x", bad); !errors.Is(err, errHashFormat) {
			t.Errorf("verify(%q) error = %v, want %v", bad, err, errHashFormat)
		}
	}
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache[int, string](10, time.Second)
		c.put(1, "one", time.Now().Add(-600*time.Millisecond))
		if got, ok := c.get(1); got != "one" || !ok {
			t.Errorf("get(1) = %q, %v, want one", got, ok)
		}
		time.Sleep(400 * time.Millisecond)
		if got, ok := c.get(1); ok {
			t.Errorf("get(1) after its time = %q, want nothing", got)
		}
		c.put(2, "two", time.Now())
		if got, ok := c.get(2); got != "two" || !ok {
			t.Errorf("get(2) = %q, %v, want two", got, ok)
		}
		c.remove(2)
		if _, ok := c.get(2); ok {
			t.Error("a removed entry is there")
		}
	})
}

func TestRefreshToken(t *testing.T) {
	a := newRefreshToken()
	if got, ok := parseRefreshToken(a.encode()); got != a || !ok {
		t.Errorf("parseRefreshToken(encode) = %v, %v, want the same", got, ok)
	}
	for _, bad := range []string{"", "x", a.encode() + "A", a.encode()[1:], strings.Repeat("=", 43), strings.Repeat("A", 42) + "B"} {
		if _, ok := parseRefreshToken(bad); ok {
			t.Errorf("parseRefreshToken(%q) is accepted", bad)
		}
	}
	if first, again := a.successor([]byte("s")), a.successor([]byte("s")); first != again {
		t.Error("the same token and salt give different successors")
	}
	if a.successor([]byte("s")) == a.successor([]byte("t")) || a.successor([]byte("s")) == newRefreshToken().successor([]byte("s")) {
		t.Error("another salt or token gives the same successor")
	}
}

func TestKeyPlan(t *testing.T) {
	const hour = time.Hour
	r, err := newKeyRing(Keys{Rotation: 100 * hour, Overlap: 2 * hour}, hour, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	key := func(id string, at time.Duration) StoredKey {
		return StoredKey{ID: id, Private: randomBytes(32), SignsFrom: start.Add(at)}
	}
	for _, tc := range []struct {
		name   string
		have   []StoredKey
		now    time.Duration
		add    []time.Duration // when the new keys sign
		remove []string
	}{
		{"first start", nil, 0, []time.Duration{0}, nil},
		{"nothing due", []StoredKey{key("a", 0)}, 97 * hour, nil, nil},
		{"next one is published", []StoredKey{key("a", 0)}, 98 * hour, []time.Duration{100 * hour}, nil},
		{"published once", []StoredKey{key("a", 0), key("b", 100*hour)}, 99 * hour, nil, nil},
		{"old one verifies", []StoredKey{key("a", 0), key("b", 100*hour)}, 100*hour + 59*time.Minute, nil, nil},
		{"old one goes", []StoredKey{key("a", 0), key("b", 100*hour)}, 101 * hour, nil, []string{"a"}},
		{"after a long stop", []StoredKey{key("a", 0)}, 500 * hour, []time.Duration{502 * hour}, nil},
	} {
		edit, err := r.plan(tc.have, start.Add(tc.now))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		var add []time.Duration
		for _, k := range edit.Put {
			add = append(add, k.SignsFrom.Sub(start))
		}
		if diff := cmp.Diff(tc.add, add); diff != "" {
			t.Errorf("%s: keys added (-want +got):\n%s", tc.name, diff)
		}
		if diff := cmp.Diff(tc.remove, edit.Remove); diff != "" {
			t.Errorf("%s: keys removed (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestKeysAtRest(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	store := &memory{now: time.Now()}
	ring := func(secret string) *keyRing {
		r, err := newKeyRing(Keys{Rotation: 100 * time.Hour, Overlap: time.Hour, Secret: secret}, time.Hour, store, log)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := ring("").refresh(t.Context()); err != nil || store.keys[0].Sealed {
		t.Fatalf("refresh() without secret: %v, sealed %v, want plain", err, store.keys[0].Sealed)
	}
	id, plain := store.keys[0].ID, store.keys[0].Private
	if err := ring("hush").refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k := store.keys[0]; len(store.keys) != 1 || !k.Sealed || k.ID != id || slices.Equal(k.Private, plain) {
		t.Errorf("with a secret the key is sealed %v, id %s, want true and the same id", k.Sealed, k.ID)
	}
	if err := ring("hush").refresh(t.Context()); err != nil {
		t.Errorf("refresh() with the right secret: %v", err)
	}
	for _, wrong := range []string{"", "loud"} {
		if err := ring(wrong).refresh(t.Context()); err == nil || fault.KindOf(err) != fault.Internal {
			t.Errorf("refresh() with secret %q: %v, want a plain error", wrong, err)
		}
	}
}

// TestKeySecretIsReplaced: while replicas go over from one secret to another, each reads what the others have stored, and at the end
// everything is sealed by the new one.
func TestKeySecretIsReplaced(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	store := &memory{now: time.Now()}
	refresh := func(secret, other string) error {
		r, err := newKeyRing(Keys{Rotation: 100 * time.Hour, Overlap: time.Hour, Secret: secret, Other: other}, time.Hour, store, log)
		if err != nil {
			t.Fatal(err)
		}
		return r.refresh(t.Context())
	}
	for _, step := range []struct{ secret, other string }{
		{"", ""}, {"", "old"}, {"old", ""}, // there was none before
		{"old", "new"}, {"new", "old"}, {"old", "new"}, {"new", "old"}, {"new", ""},
	} {
		if err := refresh(step.secret, step.other); err != nil {
			t.Errorf("refresh() with %q and %q: %v", step.secret, step.other, err)
		}
	}
	if k := store.keys[0]; len(store.keys) != 1 || !k.Sealed {
		t.Errorf("%d keys, sealed %v, want the one of the start, sealed", len(store.keys), k.Sealed)
	}
	for _, other := range []string{"", "older"} {
		if err := refresh("old", other); err == nil {
			t.Errorf("refresh() with the secrets old and %q: nil, want an error", other)
		}
	}
}

func TestSignerIsTheNewestThatMaySign(t *testing.T) {
	r, err := newKeyRing(Keys{Rotation: time.Hour, Overlap: time.Minute}, time.Hour, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	seeds := []StoredKey{
		{ID: "old", Private: randomBytes(32), SignsFrom: now.Add(-2 * time.Hour)},
		{ID: "current", Private: randomBytes(32), SignsFrom: now},
		{ID: "next", Private: randomBytes(32), SignsFrom: now.Add(time.Minute)},
	}
	if _, err := r.signer(now); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("signer() before the keys are loaded: %v, want %s", err, fault.Unavailable)
	}
	if err := r.install(seeds); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]string{-time.Second: "old", 0: "current", 59 * time.Second: "current", time.Minute: "next"} {
		if got, err := r.signer(now.Add(at)); got.id != want || err != nil {
			t.Errorf("signer(now%+v) = %s, %v, want %s", at, got.id, err, want)
		}
	}
	if jwks := string(r.set.Load().jwks); !strings.Contains(jwks, `"kid":"next"`) || !strings.Contains(jwks, `"kid":"old"`) {
		t.Errorf("the key set %s lacks a key that is to come or still verifies", jwks)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	s, _ := newTestService(b, testConfig())
	token, err := s.tokens.issue(Grant{User: User{ID: "ann", Role: RoleUser}, LoginID: "0197f000-0000-7000-8000-000000000001", IssuedAt: time.Now()})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			_, err = s.Authenticate(b.Context(), token, "", Check{})
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			_, err = s.tokens.verify(b.Context(), token)
		}
	})
	if err != nil {
		b.Error(err)
	}
}
