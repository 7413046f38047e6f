package admission

import (
	"net/netip"
	"sync"

	"github.com/starling-chat/starling/auth-service/internal/bounded"
)

// maxFamiliar bounds the pairs of a user and an address that are remembered (twice as many at most). Only a login or a refresh adds
// one, so nobody floods it without accounts.
const maxFamiliar = 20_000

// Limits bound attempts; the zero Limit is none.
type Limits struct {
	Account  Limit // failed logins of one username from one address
	User     Limit // failed logins of one username from all addresses from which it has not logged in before
	Address  Limit // logins from one address
	Register Limit // registrations from one address
	Guest    Limit // new guests from one address
	Secret   Limit // wrong refresh tokens and API keys from one address
	// Exempt are networks whose addresses have no limits of their own, besides loopback.
	Exempt []netip.Prefix
}

// Attempts decides who may try a password. A guess is paid for by whoever guesses: it counts for the user at that address. All
// addresses together have a wide limit for a user, against guesses from everywhere, and every address has one for all users. An
// address from which the user has logged in before is spared both, so that nobody elsewhere, nor a neighbour who tries other
// users, can lock the user out. It is safe for concurrent use.
type Attempts struct {
	exempt []netip.Prefix

	addresses     *limiter // logins from an address
	pairs         *limiter // failures of a user at an address
	users         *limiter // failures of a user, from wherever
	registrations *limiter // from an address
	guests        *limiter // new ones from an address
	secrets       *limiter // wrong ones from an address

	familiar *memory[string]
	proven   *memory[Hash]
}

// NewAttempts counts from now on.
func NewAttempts(l Limits) *Attempts {
	return &Attempts{
		exempt:    l.Exempt,
		addresses: newLimiter(l.Address), pairs: newLimiter(l.Account), users: newLimiter(l.User),
		registrations: newLimiter(l.Register), guests: newLimiter(l.Guest), secrets: newLimiter(l.Secret),
		familiar: newMemory[string](maxFamiliar), proven: newMemory[Hash](maxProven),
	}
}

// Registration counts the registration of a user. The fault is RateLimited.
func (a *Attempts) Registration(from Origin) error { return a.registrations.acquire(from.limited) }

// Guest counts a new guest. The fault is RateLimited.
func (a *Attempts) Guest(from Origin) error { return a.guests.acquire(from.limited) }

// Login is one try of a password: with the keys under which it was counted.
type Login struct {
	Party
	limits       *Attempts
	pair, anyone string
}

// Login counts a try before the password is checked, so that parallel guesses are counted too. username is "" for names that nobody
// has, which have no account to count for. The fault is RateLimited.
func (a *Attempts) Login(username string, from Origin) (Login, error) {
	try := Login{Party: Party{Place: from.Place}, limits: a}
	if username != "" {
		try.pair = pairKey(username, from.Place)
		try.Known = a.familiar.has(try.pair)
	}
	if !try.Known {
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

// Forgive takes back that the try was counted: the password was right, or was not checked.
func (t Login) Forgive() {
	t.limits.pairs.giveBack(t.pair)
	t.limits.users.giveBack(t.anyone)
}

// LoggedIn notes that a user has shown at an address who they are. Without a known address, or a user name, there is nothing to note.
func (a *Attempts) LoggedIn(username string, from Origin) {
	if username != "" && from.Place != "" {
		a.familiar.add(pairKey(username, from.Place))
	}
}

// pairKey stands for a user at an address. No user name has a space.
func pairKey(username, place string) string { return username + " " + place }

// memory is a bounded set.
type memory[K comparable] struct {
	mu   sync.Mutex // guards keys
	keys bounded.Map[K, struct{}]
}

func newMemory[K comparable](size int) *memory[K] {
	return &memory[K]{keys: bounded.Map[K, struct{}]{Size: size}}
}

func (m *memory[K]) has(k K) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.keys.Get(k)
	return ok
}

func (m *memory[K]) add(k K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys.Put(k, struct{}{})
}

func (m *memory[K]) remove(k K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys.Remove(k)
}
