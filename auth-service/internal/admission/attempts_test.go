package admission

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"testing"

	"github.com/starling-chat/starling/proto/fault"
)

func testAttempts() *Attempts {
	return NewAttempts(Limits{
		Exempt:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Address: Limit{PerMinute: 1, Burst: 30},
		Account: Limit{PerMinute: 1, Burst: 10},
		User:    Limit{PerMinute: 1, Burst: 50},
		Secret:  Limit{PerMinute: 1, Burst: 20},
	})
}

func TestOrigin(t *testing.T) {
	a := testAttempts()
	for in, want := range map[string]Origin{
		"192.0.2.7":        {"192.0.2.7", "192.0.2.7"},
		"::ffff:192.0.2.7": {"192.0.2.7", "192.0.2.7"},
		"2001:db8::1":      {"2001:db8::/64", "2001:db8::/64"},
		"2001:db8::ffff:2": {"2001:db8::/64", "2001:db8::/64"},
		"172.18.0.1":       {"172.18.0.1", "172.18.0.1"}, // private ones are counted,
		"fd00::1":          {"fd00::/64", "fd00::/64"},
		"10.1.2.3":         {"10.1.2.3", ""}, // but for those that the settings name
		"127.0.0.1":        {"127.0.0.1", ""},
		"::1":              {"::1", ""},
		"":                 {"", ""},
		"nonsense":         {unreadable, unreadable},
		"192.0.2.7:4444":   {unreadable, unreadable},
	} {
		if got := a.From(in); got != want {
			t.Errorf("from(%q) = %+v, want %+v", in, got, want)
		}
	}
}

// guess fails n times at a user's password from an address and gives how many tries got as far as the password.
func guess(a *Attempts, username, address string, n int) (tried int) {
	for range n {
		if _, err := a.Login(username, a.From(address)); err == nil {
			tried++
		}
	}
	return tried
}

func login(t *testing.T, a *Attempts, what, username, address string, want fault.Kind) {
	t.Helper()
	try, err := a.Login(username, a.From(address))
	if got := fault.KindOf(err); got != want {
		t.Errorf("%s: a login of %s from %s = %v, want %q", what, username, address, err, want)
	}
	if err == nil {
		try.Forgive()
	}
}

func TestGuessingLocksOutOnlyTheGuesser(t *testing.T) {
	a := testAttempts()
	if tried := guess(a, "ann", "192.0.2.1", 25); tried != 10 {
		t.Errorf("an address guessed ann's password %d times, want 10", tried)
	}
	login(t, a, "after guesses from one address", "ann", "192.0.2.1", fault.RateLimited)
	login(t, a, "after guesses from another address", "ann", "198.51.100.9", "")
	login(t, a, "another user at the guesser's address", "bob", "192.0.2.1", "")

	// From everywhere: the wide limit holds for addresses that nobody knows, not for the one from which ann has logged in before.
	a.LoggedIn("ann", a.From("198.51.100.9"))
	total := 10
	for i := range 40 {
		total += guess(a, "ann", fmt.Sprintf("203.0.113.%d", i), 10)
	}
	if total != 50 {
		t.Errorf("all addresses guessed ann's password %d times, want 50", total)
	}
	login(t, a, "after guesses from everywhere, an address unknown", "ann", "198.51.100.10", fault.RateLimited)
	login(t, a, "after guesses from everywhere, an address known", "ann", "198.51.100.9", "")
	login(t, a, "another user at an unknown address", "bob", "198.51.100.10", "")
	if tried := guess(a, "ann", "198.51.100.9", 25); tried != 10 {
		t.Errorf("an address that ann knows guessed %d times, want 10", tried)
	}
}

func TestNeighboursOfAKnownUser(t *testing.T) {
	a := testAttempts()
	a.LoggedIn("ann", a.From("192.0.2.1"))
	tried := 0
	for i := range 10 {
		tried += guess(a, fmt.Sprintf("user%d", i), "192.0.2.1", 5)
	}
	if tried != 30 {
		t.Errorf("an address tried %d passwords, want 30", tried)
	}
	login(t, a, "a stranger behind a busy address", "bob", "192.0.2.1", fault.RateLimited)
	login(t, a, "a user who comes back behind a busy address", "ann", "192.0.2.1", "")
	for range 100 {
		login(t, a, "right passwords", "ann", "192.0.2.1", "")
	}
	for range 1000 {
		if tried := guess(a, "", "10.1.2.3", 1); tried != 1 {
			t.Fatal("names that nobody has are limited at an exempt address")
		}
	}
}

// TestWrongSecrets: wrong tokens and keys count for their address alone, and nobody there pays for them who has shown a right one.
func TestWrongSecrets(t *testing.T) {
	a := testAttempts()
	wrong, away := fault.New(fault.Unauthenticated, "wrong"), fault.New(fault.Unavailable, "the database is away")
	show := func(secret, address string, answer error) error {
		s, err := a.Show(sha256.Sum256([]byte(secret)), a.From(address))
		if err == nil {
			s.Answered(answer)
		}
		return err
	}
	right := func(what, secret, address string, want fault.Kind) {
		t.Helper()
		if got := show(secret, address, nil); fault.KindOf(got) != want {
			t.Errorf("%s: %q from %s = %v, want %q", what, secret, address, got, want)
		}
	}
	for range 100 {
		right("right ones do not count", "ann's", "192.0.2.1", "")
		if err := show("of a bad moment", "192.0.2.1", away); err != nil {
			t.Fatalf("what could not be looked up counts: %v", err)
		}
	}
	a.Issued(sha256.Sum256([]byte("bob's")))
	looked := 0
	for i := range 50 {
		if show(fmt.Sprintf("guess %d", i), "192.0.2.1", wrong) == nil {
			looked++
		}
	}
	if looked != 20 {
		t.Errorf("%d wrong ones of an address were looked up, want 20", looked)
	}
	right("one that was right before", "ann's", "192.0.2.1", "")
	right("one that was given out here", "bob's", "192.0.2.1", "")
	right("one that nobody has seen", "zoe's", "192.0.2.1", fault.RateLimited)
	right("at another address", "zoe's", "198.51.100.9", "")

	// One that is right no longer is a guess like any other.
	if err := show("ann's", "192.0.2.1", wrong); err != nil {
		t.Errorf("a secret that was right = %v, want nil, once more", err)
	}
	right("one that was right, and then wrong", "ann's", "192.0.2.1", fault.RateLimited)
	for i := range 100 {
		if err := show(fmt.Sprintf("guess %d", i), "127.0.0.1", wrong); err != nil {
			t.Fatalf("loopback is limited: %v", err)
		}
	}
}
