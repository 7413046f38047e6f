package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/starling-chat/starling/proto/fault"
)

const (
	// stateTTL bounds how long a revoked token may still be accepted. Less than the second that is promised.
	stateTTL = 900 * time.Millisecond
	// verifiedTTL is how long a signature once checked is not checked again; expiry is.
	verifiedTTL = time.Minute
	// lookupTimeout bounds a look-up that several requests share and none of them can cancel.
	lookupTimeout = 3 * time.Second
	// Look-ups of many users share one statement while lookupCalls of them are under way; so do new users.
	lookupCalls  = 2
	lookupWait   = 5 * time.Millisecond // at most
	mostTogether = 200

	stateCacheSize    = 20_000
	verifiedCacheSize = 10_000
	keyCacheSize      = 1_000
	keyTTL            = 2 * time.Second
	maxAPIKey         = 256
)

// Check says how a token is judged.
type Check struct {
	// Connecting: for a socket; a token of another login system says how its user is called from now on.
	Connecting bool
	// Fresh: by what the store says now, because the caller has just heard of a revocation of the user, and this replica may not have.
	Fresh bool
}

// Authenticate tells whom a token speaks for, to a client with an address, "" when unknown. The faults are refusals (fault.Refusal) for the reasons ReasonNoToken,
// ReasonToken, ReasonUserID and ReasonNoUser, or Unavailable.
func (s *Service) Authenticate(ctx context.Context, token, address string, how Check) (Identity, error) {
	id, err := s.authenticate(ctx, token, how)
	e := Event{Act: ActToken, Result: ResultOf(err), User: id.UserID, Address: address}
	if e.Result == ResultFailed {
		e.Cause = causeOf(err)
	}
	s.recorder.Record(ctx, e)
	if err != nil {
		return Identity{}, err
	}
	return id, nil
}

// authenticate gives with an error whom the token spoke for, if that much could be told.
func (s *Service) authenticate(ctx context.Context, token string, how Check) (Identity, error) {
	switch {
	case token == "":
		return Identity{}, fault.Refusal(fault.ReasonNoToken, nil)
	case len(token) > maxToken:
		return Identity{}, errToken(errTooLong)
	}
	v, err := s.verifyCached(ctx, token)
	whose := Identity{UserID: v.userID}
	if err != nil {
		return whose, err
	}
	if how.Fresh {
		s.forget(v.userID, v.loginID)
	}
	state, err := s.state(ctx, v)
	if err == nil && v.foreign() && v.issuedAt.After(time.Now()) {
		state.User, err = s.datedAhead(ctx, v)
	}
	switch {
	case errors.Is(err, ErrUserNotFound):
		return whose, fault.Refusal(fault.ReasonNoUser, nil)
	case err != nil:
		return whose, err
	case state.User.Disabled, s.keptOut(v.userID):
		return whose, fault.Refusal(fault.ReasonDisabled, nil)
	case v.foreign() && !v.issuer.SharesUsers && (state.User.Username != "" || v.userID.Guest()):
		return whose, errToken(errRegistered)
	case revoked(v, state):
		return whose, errToken(errRevoked)
	}
	if how.Connecting && v.foreign() {
		u := s.describe(ctx, v, state.User)
		if u.Disabled { // since what was remembered
			return whose, fault.Refusal(fault.ReasonDisabled, nil)
		}
		v.name = "" // the user's name is what the newest token says
		return s.identity(v, u), nil
	}
	return s.identity(v, state.User), nil
}

// datedAhead has revocations cover a foreign token although its time of issue is still to come: clocks may differ by the leeway, and
// after that a token whose clock is ahead could not be told from one of a login after the revocation. It is rare, so it costs a
// write.
func (s *Service) datedAhead(ctx context.Context, v verified) (User, error) {
	u, err := s.store.DatedAhead(ctx, v.userID, v.issuedAt)
	if err != nil {
		return u, fmt.Errorf("note time of issue of user %s: %w", v.userID, err)
	}
	return u, nil
}

func revoked(v verified, state State) bool {
	if v.foreign() {
		// A token that does not say when it was issued was issued before every revocation.
		return v.issuedAt.Before(state.User.RevokedAt)
	}
	return !state.LoginAlive || v.generation < state.User.Generation
}

// identity believes what a foreign token says: the login system that signed it knows better than our copy. Whether its users are
// admins it says in each token; only where its ids are those of users here the role that they have here counts as well.
func (s *Service) identity(v verified, u User) Identity {
	id := Identity{
		UserID: u.ID, Name: u.Name, NameVersion: u.NameVersion, Role: u.Role, Rooms: v.rooms, Picture: cmp.Or(v.picture, u.AvatarURL),
		LoginID: v.loginID, IssuedAt: v.issuedAt, Expires: v.expires, Generation: u.Generation,
	}
	if v.foreign() && v.name != "" {
		id.Name, id.NameVersion = v.name, 0
	}
	switch {
	case !v.foreign(), u.ID.Guest():
	case v.role != "":
		id.Role = v.role
	case !v.issuer.SharesUsers:
		id.Role = RoleUser
	}
	// Accepted by the leeway alone: the socket lives as long as the leeway, rather than being closed at once.
	if !id.Expires.IsZero() && !id.Expires.After(time.Now()) {
		id.Expires = id.Expires.Add(s.cfg.Tokens.Leeway)
	}
	return id
}

// verifyCached spares the signature check of a token that was just seen: after a network failure thousands of clients
// come back with the same tokens at once.
func (s *Service) verifyCached(ctx context.Context, token string) (verified, error) {
	sum := sha256.Sum256([]byte(token))
	if v, ok := s.verifiedTokens.get(sum); ok {
		if !v.expires.IsZero() && time.Now().After(v.expires.Add(s.cfg.Tokens.Leeway)) {
			return v, errToken(jwt.ErrTokenExpired)
		}
		return v, nil
	}
	now := time.Now()
	v, err := s.tokens.verify(ctx, token)
	if err == nil {
		s.verifiedTokens.put(sum, v, now)
	}
	return v, err
}

// state reads the user and login of a token, from memory when that is young enough.
func (s *Service) state(ctx context.Context, v verified) (State, error) {
	if u, ok := s.users.get(v.userID); ok {
		if v.loginID == "" {
			return State{User: u}, nil
		}
		if login, ok := s.logins.get(v.loginID); ok {
			return State{User: u, LoginAlive: login.alive && login.userID == v.userID}, nil
		}
	}
	state, err := s.load(ctx, v.userID, v.loginID)
	if !errors.Is(err, ErrUserNotFound) || !v.foreign() || !v.issuer.Provision || v.userID.Guest() {
		return state, err
	}
	u := User{ID: v.userID, Name: displayName(v.name, displayName(string(v.userID), "?")), Role: v.role, DescribedAt: v.issuedAt}
	if u.Role == "" {
		u.Role = RoleUser
	}
	asOf := time.Now()
	made, err := s.newcomers.Ask(ctx, u)
	if err == nil {
		u, err = made.user, made.err
	}
	switch {
	case err == nil && u.ID == "": // somebody else has made it meanwhile, or it is deleted
		s.loads.Forget(loadKey(v.userID, v.loginID)) // one that is under way may have read before the user was there
		return s.load(ctx, v.userID, v.loginID)      // a deleted one is still not found
	case err != nil:
		return State{}, fmt.Errorf("provision user %s: %w", v.userID, err)
	}
	s.users.put(v.userID, u, asOf)
	return State{User: u}, nil
}

// provisioned is what became of a user that was to be created.
type provisioned struct {
	user User // without an ID: it exists already
	err  error
}

// provision creates users together. An unexpected failure is put down to one of them: each is then created alone, so that the others do
// not suffer.
func (s *Service) provision(ctx context.Context, users []User) ([]provisioned, error) {
	answers := make([]provisioned, len(users))
	made, err := s.store.Provision(ctx, users)
	switch {
	case err == nil:
		for i, u := range made {
			answers[i].user = u
		}
		return answers, nil
	case len(users) == 1 || fault.KindOf(err) != fault.Internal:
		return nil, err
	}
	for i := range users {
		if made, answers[i].err = s.store.Provision(ctx, users[i:i+1]); answers[i].err == nil {
			answers[i].user = made[0]
		}
	}
	return answers, nil
}

// loadKey is what makes two questions of load the same.
func loadKey(user UserID, login LoginID) string { return string(login) + "/" + string(user) }

// load asks the store once for all requests that want the same.
func (s *Service) load(ctx context.Context, user UserID, login LoginID) (State, error) {
	answer, err, _ := s.loads.Do(loadKey(user, login), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		asOf := time.Now()
		state, err := s.states.Ask(ctx, Who{User: user, Login: login})
		if err == nil && state.User.ID == "" {
			err = ErrUserNotFound
		}
		if err != nil {
			return State{}, fmt.Errorf("read state of user %s: %w", user, err)
		}
		s.users.put(user, state.User, asOf)
		if login != "" {
			s.logins.put(login, loginState{userID: user, alive: state.LoginAlive}, asOf)
		}
		return state, nil
	})
	state, _ := answer.(State)
	return state, err
}

type loginState struct {
	userID UserID
	alive  bool
}

// Forget drops what is cached about the user or login of a revocation.
func (s *Service) Forget(r Revocation) {
	if r.LoginID != "" {
		s.logins.remove(r.LoginID)
		return
	}
	s.users.remove(r.UserID)
}

// forget has the user, and the login if any, read anew, and not by a question that is under way.
func (s *Service) forget(user UserID, login LoginID) {
	s.users.remove(user)
	if login != "" {
		s.logins.remove(login)
	}
	s.loads.Forget(loadKey(user, login))
}

// AuthenticateKey tells what an API key may do, to a client with an address, "" when unknown. Faults: Unauthenticated,
// RateLimited.
func (s *Service) AuthenticateKey(ctx context.Context, key, address string) (APIKey, error) {
	known, err := s.authenticateKey(ctx, key, address)
	s.recorder.Record(ctx, Event{Act: ActAPIKey, Result: ResultOf(err), Key: known.Name, Address: address})
	return known, err
}

func (s *Service) authenticateKey(ctx context.Context, key, address string) (APIKey, error) {
	if key == "" {
		return APIKey{}, fault.New(fault.Unauthenticated, "API key required")
	}
	unknown := fault.New(fault.Unauthenticated, "Invalid API key")
	if len(key) > maxAPIKey {
		return APIKey{}, unknown
	}
	hash := TokenHash(sha256.Sum256([]byte(key)))
	if k, ok := s.apiKeys.get(hash); ok && !k.ended() {
		return k, nil
	}
	shown, err := s.attempts.Show(hash, s.attempts.From(address))
	if err != nil {
		return APIKey{}, err
	}
	now := time.Now()
	k, err := s.store.APIKey(ctx, hash)
	if errors.Is(err, ErrKeyUnknown) || err == nil && k.ended() {
		err = unknown
	}
	shown.Answered(err)
	if err != nil {
		return APIKey{}, fmt.Errorf("look up API key: %w", err)
	}
	s.apiKeys.put(hash, k, now)
	if err := s.store.KeyUsed(ctx, hash); err != nil {
		s.log.LogAttrs(ctx, slog.LevelDebug, "use of an API key not noted", slog.String("api_key", k.Name), slog.Any("error", err))
	}
	return k, nil
}
