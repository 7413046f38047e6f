package auth

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/starling-chat/starling/proto/fault"
)

func testAttempts() *attempts {
	return &attempts{
		exempt:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		addresses: newLimiter(Limit{PerMinute: 1, Burst: 30}),
		pairs:     newLimiter(Limit{PerMinute: 1, Burst: 10}),
		users:     newLimiter(Limit{PerMinute: 1, Burst: 50}),
		familiar:  familiar{pairs: generations[string, struct{}]{size: 100}},
	}
}

func TestOrigin(t *testing.T) {
	a := testAttempts()
	for in, want := range map[string]origin{
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
		if got := a.from(in); got != want {
			t.Errorf("from(%q) = %+v, want %+v", in, got, want)
		}
	}
}

// guess fails n times at a user's password from an address and gives how many tries got as far as the password.
func guess(a *attempts, username, address string, n int) (tried int) {
	for range n {
		if _, err := a.begin(username, a.from(address)); err == nil {
			tried++
		}
	}
	return tried
}

func login(t *testing.T, a *attempts, what, username, address string, want fault.Kind) {
	t.Helper()
	try, err := a.begin(username, a.from(address))
	if got := fault.KindOf(err); got != want {
		t.Errorf("%s: a login of %s from %s = %v, want %q", what, username, address, err, want)
	}
	if err == nil {
		try.forgive()
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
	a.familiar.add("ann", "198.51.100.9")
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
	a.familiar.add("ann", "192.0.2.1")
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
