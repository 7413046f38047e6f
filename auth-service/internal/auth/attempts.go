package auth

import (
	"net/netip"
	"slices"
	"sync"
)

// maxFamiliar bounds the pairs of a user and an address that are remembered (twice as many at most). Only a login or a refresh adds
// one, so nobody floods it without accounts.
const maxFamiliar = 20_000

// attempts decides who may try a password. A guess is paid for by whoever guesses: it counts for the user at that address. All
// addresses together have a wide limit for a user, against guesses from everywhere, and every address has one for all users. An
// address from which the user has logged in before is spared both, so that nobody elsewhere, nor a neighbour who tries other
// users, can lock the user out.
type attempts struct {
	exempt []netip.Prefix // addresses that have no limit of their own, because many clients share them

	addresses *limiter // logins from an address
	pairs     *limiter // failures of a user at an address
	users     *limiter // failures of a user, from wherever
	familiar  familiar
}

// origin is where a request comes from.
type origin struct {
	// place is an IPv4 address, or the /64 that one IPv6 site has; "" when unknown.
	place string
	// limited is the key of limits per address: the place, "" where the address has none.
	limited string
}

// unreadable is the place of all addresses that are none.
const unreadable = "unreadable"

// from gives the form in which an address is counted. Loopback is the operator, or a proxy that does not tell whose requests it
// passes on, with everybody behind it.
func (a *attempts) from(address string) origin {
	if address == "" {
		return origin{}
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return origin{place: unreadable, limited: unreadable}
	}
	ip = ip.Unmap().WithZone("")
	o := origin{place: ip.String()}
	if ip.Is6() && !ip.IsLoopback() {
		prefix, _ := ip.Prefix(64)
		o.place = prefix.String()
	}
	exempt := ip.IsLoopback() || slices.ContainsFunc(a.exempt, func(p netip.Prefix) bool { return p.Contains(ip) })
	if !exempt {
		o.limited = o.place
	}
	return o
}

// attempt is one try of a password: with the keys under which it was counted.
type attempt struct {
	party
	limits       *attempts
	pair, anyone string
}

// begin counts a try before the password is checked, so that parallel guesses are counted too. username is "" for names that nobody
// has, which have no account to count for. The fault is RateLimited.
func (a *attempts) begin(username string, from origin) (attempt, error) {
	try := attempt{party: party{place: from.place}, limits: a}
	if username != "" {
		try.pair = pairKey(username, from.place)
		try.known = a.familiar.has(try.pair)
	}
	if !try.known {
		if err := a.addresses.acquire(from.limited); err != nil {
			return try, err
		}
		try.anyone = username
	}
	if err := a.pairs.acquire(try.pair); err != nil {
		return try, err
	}
	if err := a.users.acquire(try.anyone); err != nil {
		a.pairs.giveBack(try.pair)
		return try, err
	}
	return try, nil
}

// forgive takes back that the try was counted: the password was right, or was not checked.
func (t attempt) forgive() {
	t.limits.pairs.giveBack(t.pair)
	t.limits.users.giveBack(t.anyone)
}

// pairKey stands for a user at an address. No user name has a space.
func pairKey(username, place string) string { return username + " " + place }

// familiar remembers from where users have logged in, in this process only.
type familiar struct {
	mu    sync.Mutex // guards pairs
	pairs generations[string, struct{}]
}

func (f *familiar) has(pair string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.pairs.get(pair)
	return ok
}

// add notes that a user has shown at an address who they are. Without a known address, or a user name, there is nothing to note.
func (f *familiar) add(username, place string) {
	if username == "" || place == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pairs.put(pairKey(username, place), struct{}{})
}
