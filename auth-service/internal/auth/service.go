package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/starling-chat/starling/auth-service/internal/admission"
	"github.com/starling-chat/starling/auth-service/internal/issuers"
	"github.com/starling-chat/starling/platform/batcher"
	"github.com/starling-chat/starling/proto/fault"
)

// maxUsers bounds one GetUsers.
const maxUsers = 1000

// Config says how the service behaves. All fields are needed unless they say otherwise.
type Config struct {
	Tokens    Tokens
	Issuers   *issuers.Set // whose tokens are accepted besides our own; nil: nobody's
	Keys      Keys
	Passwords Passwords
	// Registration lets everyone create a user.
	Registration bool
	Guests       Guests
	Limits       admission.Limits
	// KeepRevocations is how long the revocation log reaches back; longer than any token lives.
	KeepRevocations time.Duration
	Seed            Seed
}

// Service answers every question about users and tokens. It is safe for concurrent use; several replicas share a Store.
type Service struct {
	cfg       Config
	store     Store
	announcer Announcer
	recorder  Recorder
	log       *slog.Logger

	passwords *hasher
	keys      *keyRing
	tokens    *tokenizer
	attempts  *admission.Attempts
	unchanged quota // of notes of describe

	verifiedTokens *cache[[32]byte, verified]
	users          *cache[UserID, User]
	logins         *cache[LoginID, loginState]
	apiKeys        *cache[TokenHash, APIKey]
	loads          singleflight.Group

	states    *batcher.Batcher[Who, State]
	newcomers *batcher.Batcher[User, provisioned]
}

// New makes a service; Prepare and Run make it work.
func New(cfg Config, store Store, announcer Announcer, recorder Recorder, log *slog.Logger) (*Service, error) {
	keys, err := newKeyRing(cfg.Keys, cfg.Tokens.AccessTTL+2*cfg.Tokens.Leeway, store, log)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, store: store, announcer: announcer, recorder: recorder, log: log,
		passwords: newHasher(cfg.Passwords),
		keys:      keys,
		tokens:    newTokenizer(cfg.Tokens, cfg.Issuers, keys),
		attempts:  admission.NewAttempts(cfg.Limits),

		verifiedTokens: newCache[[32]byte, verified](verifiedCacheSize, verifiedTTL),
		users:          newCache[UserID, User](stateCacheSize, stateTTL),
		logins:         newCache[LoginID, loginState](stateCacheSize, stateTTL),
		apiKeys:        newCache[TokenHash, APIKey](keyCacheSize, keyTTL),
	}
	s.states = batcher.New(batcher.Config[Who, State]{
		Most: mostTogether, Calls: lookupCalls, Wait: lookupWait, Timeout: lookupTimeout,
		Call: func(ctx context.Context, whose []Who) ([]State, error) { return s.store.States(ctx, whose) },
	})
	s.newcomers = batcher.New(batcher.Config[User, provisioned]{
		Most: mostTogether, Calls: lookupCalls, Wait: lookupWait, Timeout: lookupTimeout, Call: s.provision,
	})
	return s, nil
}

// Pair is a fresh pair of tokens.
type Pair struct {
	AccessToken  string
	RefreshToken string
	ExpiresIn    time.Duration // until the access token ends
	User         User

	login LoginID
}

// Register creates a user and logs it in. address is the client's IP, "" when unknown. Faults: Invalid, Conflict,
// RateLimited, Forbidden where registration is off.
func (s *Service) Register(ctx context.Context, username, typed, name, address string) (Pair, error) {
	pair, err := s.register(ctx, username, typed, name, address)
	s.recorder.Record(ctx, Event{Act: ActRegister, Result: ResultOf(err), User: pair.User.ID, Login: pair.login, Address: address})
	return pair, err
}

func (s *Service) register(ctx context.Context, username, typed, name, address string) (Pair, error) {
	if !s.cfg.Registration {
		return Pair{}, fault.New(fault.Forbidden, "Registration is closed")
	}
	u, err := newUser(username, name, RoleUser)
	if err != nil {
		return Pair{}, err
	}
	chosen, err := newPassword(typed, u.Username)
	if err != nil {
		return Pair{}, err
	}
	from := s.attempts.From(address)
	if err := s.attempts.Registration(from); err != nil {
		return Pair{}, err
	}
	hash, err := s.passwords.hash(ctx, admission.Party{Place: from.Place}, chosen)
	if err != nil {
		return Pair{}, err
	}
	err = s.store.CreateUser(ctx, u, hash)
	switch {
	case errors.Is(err, ErrUsernameTaken):
		return Pair{}, fault.New(fault.Conflict, "The username is taken")
	case err != nil:
		return Pair{}, fmt.Errorf("create user: %w", err)
	}
	s.attempts.LoggedIn(u.Username, from)
	return s.begin(ctx, u, address)
}

func newUser(username, name string, role Role) (User, error) {
	username, err := parseUsername(username)
	if err != nil {
		return User{}, err
	}
	return User{ID: UserID(newID()), Username: username, Name: displayName(name, username), Role: role}, nil
}

// newID is a UUIDv7; it fails only where the system has no randomness, and then crypto/rand has ended the process.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// Login checks a password. An unknown user, a user without a password and a wrong password get the same answer after the
// same work. Faults: Unauthenticated, RateLimited.
func (s *Service) Login(ctx context.Context, username, typed, address string) (Pair, error) {
	pair, err := s.login(ctx, username, typed, address)
	s.recorder.Record(ctx, Event{Act: ActLogin, Result: ResultOf(err), User: pair.User.ID, Login: pair.login, Address: address})
	if err != nil {
		return Pair{}, err
	}
	return pair, nil
}

// login gives with an error whose login failed, if there is such a user.
func (s *Service) login(ctx context.Context, username, typed, address string) (Pair, error) {
	from := s.attempts.From(address)
	username, nameErr := parseUsername(username)
	given, asTyped, passwordErr := parsePassword(typed)
	if nameErr != nil || passwordErr != nil {
		username, given, asTyped = "", "", "" // nobody's: no account to count for, and nothing long to hash
	}
	try, err := s.attempts.Login(username, from)
	if err != nil {
		return Pair{}, err
	}
	u, _, err := s.checkCredentials(ctx, try.Party, username, given, asTyped)
	if fault.KindOf(err) != fault.Unauthenticated {
		try.Forgive()
	}
	switch {
	case err != nil:
		return Pair{User: u}, err
	case u.Disabled: // said only to who knows the password
		return Pair{User: u}, fault.New(fault.Forbidden, "The user is disabled")
	}
	s.attempts.LoggedIn(u.Username, from)
	return s.begin(ctx, u, address)
}

// checkCredentials compares a password, and where that does not fit the characters as they were typed, with what is stored, and gives
// the hash that is stored now.
func (s *Service) checkCredentials(ctx context.Context, by admission.Party, username string, given, asTyped password) (User, string, error) {
	u, hash, err := s.store.Credentials(ctx, username)
	known := err == nil && username != ""
	if err != nil && !errors.Is(err, ErrUserNotFound) {
		return User{}, "", fmt.Errorf("read credentials: %w", err)
	}
	if !known {
		hash = s.passwords.dummy
	}
	ok, stale, err := s.passwords.verify(ctx, by, given, hash)
	if err == nil && !ok && asTyped != "" {
		ok, _, err = s.passwords.verify(ctx, by, asTyped, hash)
		stale = true
	}
	if err != nil {
		return u, "", err
	}
	if !ok || !known {
		return u, "", fault.New(fault.Unauthenticated, "Wrong username or password")
	}
	if stale {
		hash = s.rehash(ctx, by, u.ID, given, hash)
	}
	return u, hash, nil
}

// rehash brings a stored hash to today's form and costs, and gives the hash that is stored then. The login does not depend on it.
func (s *Service) rehash(ctx context.Context, by admission.Party, id UserID, given password, old string) string {
	hash, err := s.passwords.hash(ctx, by, given)
	if err == nil {
		err = s.store.ReplaceHash(ctx, id, old, hash)
	}
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "password was not rehashed", slog.String("user_id", string(id)), slog.Any("error", err))
		return old
	}
	return hash
}

func (s *Service) begin(ctx context.Context, u User, address string) (Pair, error) {
	if _, err := s.keys.current(); err != nil {
		return Pair{}, err
	}
	token := newRefreshToken()
	login := NewLogin{ID: LoginID(newID()), Token: token.hash(), TTL: s.cfg.Tokens.RefreshTTL, Address: address}
	grant, err := s.store.BeginLogin(ctx, u, login)
	switch {
	case errors.Is(err, ErrStale):
		return Pair{}, fault.Retry(fault.Unavailable, "Logged out meanwhile, try again", 100*time.Millisecond)
	case err != nil:
		return Pair{}, fmt.Errorf("begin login: %w", err)
	}
	return s.pair(grant, token)
}

func (s *Service) pair(g Grant, token refreshToken) (Pair, error) {
	access, err := s.tokens.issue(g)
	if err != nil {
		return Pair{}, err
	}
	s.attempts.Issued(token.hash())
	return Pair{AccessToken: access, RefreshToken: token.encode(), ExpiresIn: s.cfg.Tokens.AccessTTL, User: g.User, login: g.LoginID}, nil
}

func errRefresh() error { return fault.New(fault.Unauthenticated, "Invalid refresh token") }

// Refresh spends a refresh token for a new pair; see the package comment. address is the client's IP, "" when unknown. Faults:
// Unauthenticated, RateLimited.
func (s *Service) Refresh(ctx context.Context, encoded, address string) (Pair, error) {
	pair, reused, err := s.refresh(ctx, encoded, address)
	e := Event{Act: ActRefresh, Result: ResultOf(err), User: pair.User.ID, Login: pair.login, Address: address}
	if reused.ID != 0 {
		e.Result, e.User, e.Login = ResultReused, reused.UserID, reused.LoginID
	}
	s.recorder.Record(ctx, e)
	return pair, err
}

// refresh gives with an error the end of the login, where there were two users of one token.
func (s *Service) refresh(ctx context.Context, encoded, address string) (Pair, Revocation, error) {
	token, ok := parseRefreshToken(encoded)
	if !ok {
		return Pair{}, Revocation{}, errRefresh()
	}
	// Before the token is spent: an answer without keys to sign it would be lost.
	if _, err := s.keys.current(); err != nil {
		return Pair{}, Revocation{}, err
	}
	from := s.attempts.From(address)
	shown, err := s.attempts.Show(token.hash(), from)
	if err != nil {
		return Pair{}, Revocation{}, err
	}
	rotation, err := s.rotate(ctx, token)
	shown.Answered(err)
	if err != nil {
		return Pair{}, rotation.Revocation, err
	}
	s.attempts.LoggedIn(rotation.User.Username, from)
	pair, err := s.pair(rotation.Grant, token.descendant(rotation.Salts))
	return pair, Revocation{}, err
}

// rotate spends a refresh token. With an error it gives the end of the login, where there were two users of one token.
func (s *Service) rotate(ctx context.Context, token refreshToken) (Rotation, error) {
	r, err := s.store.Rotate(ctx, Spending{
		Token: token.hash(), Salt: randomBytes(refreshSize),
		Descendant: func(salts [][]byte) TokenHash { return token.descendant(salts).hash() },
		TTL:        s.cfg.Tokens.RefreshTTL, Guests: s.cfg.Guests, Grace: RefreshGrace,
	})
	switch {
	case errors.Is(err, ErrNoGuests):
		return Rotation{}, errNoGuests()
	case errors.Is(err, ErrTokenUnknown):
		return Rotation{}, errRefresh()
	case err != nil:
		return Rotation{}, fmt.Errorf("spend refresh token: %w", err)
	case r.Reused:
		s.announce(ctx, r.Revocation)
		return r, errRefresh()
	}
	return r, nil
}

// Logout ends the login of a refresh token and closes its sockets. A login that has ended, and a token that never was,
// are logged out already. address is the client's IP, "" when unknown. The fault is RateLimited.
func (s *Service) Logout(ctx context.Context, encoded, address string) error {
	token, ok := parseRefreshToken(encoded)
	if !ok {
		return fault.New(fault.Invalid, "refreshToken is not a refresh token")
	}
	shown, err := s.attempts.Show(token.hash(), s.attempts.From(address))
	if err != nil {
		s.recorder.Record(ctx, Event{Act: ActLogout, Result: ResultOf(err), Address: address})
		return err
	}
	r, err := s.store.EndLogin(ctx, token.hash())
	if errors.Is(err, ErrTokenUnknown) {
		shown.Answered(errRefresh())
		return nil
	}
	shown.Answered(err)
	if err != nil {
		return fmt.Errorf("end login: %w", err)
	}
	s.announce(ctx, r)
	s.recorder.Record(ctx, Event{Act: ActLogout, Result: ResultOK, User: r.UserID, Login: r.LoginID, Address: address})
	return nil
}

// JWKS is the public keys as a JWK set.
func (s *Service) JWKS() ([]byte, error) {
	set, err := s.keys.current()
	if err != nil {
		return nil, err
	}
	return set.jwks, nil
}

// Users lists users by id; unknown ones are left out. The fault is Invalid for more than 1000.
func (s *Service) Users(ctx context.Context, ids []UserID) ([]User, error) {
	if len(ids) > maxUsers {
		return nil, fault.Newf(fault.Invalid, "userIds must be at most %d", maxUsers)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	users, err := s.store.Users(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	return users, nil
}
