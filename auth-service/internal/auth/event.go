package auth

import (
	"context"
	"errors"

	"github.com/golang-jwt/jwt/v5"

	"github.com/starling-chat/starling/auth-service/internal/issuers"
	"github.com/starling-chat/starling/proto/fault"
)

// Act is what somebody did, or tried, that matters to security.
type Act string

// The acts.
const (
	ActLogin    Act = "login"
	ActRegister Act = "register"
	ActGuest    Act = "guest" // a guest came
	ActRefresh  Act = "refresh"
	ActLogout   Act = "logout"
	ActRevoke   Act = "revoke"  // all tokens of a user, by a backend
	ActToken    Act = "token"   // an access token was shown
	ActAPIKey   Act = "api_key" // an API key was shown
	ActCreate   Act = "create"  // a user was created by the settings
	ActPromote  Act = "promote" // a user was made an admin by the settings

	ActUpsert     Act = "users_upsert" // users were made or changed, by a backend
	ActUpdate     Act = "user_update"
	ActDisable    Act = "user_disable"
	ActEnable     Act = "user_enable"
	ActDelete     Act = "user_delete"
	ActPassword   Act = "password"    // a password was changed
	ActEndSession Act = "session_end" // a login was ended by its user
	ActKeyAdd     Act = "key_add"     // an API key was made
	ActKeyRemove  Act = "key_remove"
)

// Acts are all of them.
func Acts() []Act {
	return []Act{
		ActLogin, ActRegister, ActGuest, ActRefresh, ActLogout, ActRevoke, ActToken, ActAPIKey, ActCreate,
		ActPromote, ActUpsert, ActUpdate, ActDisable, ActEnable, ActDelete, ActPassword, ActEndSession,
		ActKeyAdd, ActKeyRemove,
	}
}

// Result is what became of it.
type Result string

// The results.
const (
	ResultOK      Result = "ok"
	ResultFailed  Result = "failed"  // a wrong password, a bad token or key
	ResultLimited Result = "limited" // too many tries, or no turn in time
	ResultRefused Result = "refused" // what was asked for is not allowed, taken or not well formed
	ResultReused  Result = "reused"  // a spent refresh token came again, and its login ended
	ResultError   Result = "error"   // a part was away, or made a mistake
)

// Event is one act with its result. It holds no token, no key and no password, and no user name that somebody typed who is nobody:
// people type passwords there.
type Event struct {
	Act     Act
	Result  Result
	User    UserID  // "" when unknown
	Login   LoginID // "" when there is none
	Address string  // of the client; "" when unknown
	Key     string  // name of the API key that was shown; "" when there is none
	Name    string  // of the API key that it is about; "" when it is about none
	Cause   string  // of a closed list; "" when the result says it all
	Closed  int     // sockets, of what ends tokens
	Count   int     // users or logins, of what concerns several
}

// Recorder keeps a log of events, and counts them.
type Recorder interface {
	Record(ctx context.Context, e Event)
}

// ResultOf tells what an error makes of an act.
func ResultOf(err error) Result {
	switch fault.KindOf(err) {
	case "":
		return ResultOK
	case fault.Unauthenticated:
		return ResultFailed
	case fault.RateLimited:
		return ResultLimited
	case fault.Invalid, fault.Conflict, fault.Forbidden, fault.NotFound, fault.TooLarge, fault.UnknownEvent:
		return ResultRefused
	default:
		return ResultError
	}
}

var (
	errTooLong    = errors.New("token is too long")
	errRevoked    = errors.New("token is revoked, or its login has ended")
	errRegistered = errors.New("token of another issuer speaks for a user who registered here")
)

// TokenCauses are the words of causeOf.
func TokenCauses() []string {
	return []string{
		"algorithm", "audience", "claim_missing", "disabled", "expired", "issued_in_future", "issuer", "malformed",
		"no_token", "not_yet_valid", "registered_here", "revoked", "rooms_can", "rooms_count", "rooms_form", "rooms_match",
		"signature", "subject", "too_long", "type", "unknown_key", "unknown_user", "user_id",
	}
}

// causeOf says in a word why a token was refused. What libraries say of it may repeat parts of the token.
func causeOf(err error) string {
	if refusal, ok := errors.AsType[*fault.Error](err); ok {
		switch refusal.Reason {
		case fault.ReasonNoToken:
			return "no_token"
		case fault.ReasonNoUser:
			return "unknown_user"
		case fault.ReasonUserID:
			return "user_id"
		case fault.ReasonDisabled:
			return "disabled"
		default: // the causes below tell tokens apart
		}
	}
	for _, cause := range []struct {
		is   error
		word string
	}{
		{errRevoked, "revoked"},
		{errRegistered, "registered_here"},
		{issuers.ErrAudience, "audience"},
		{jwt.ErrTokenInvalidAudience, "audience"},
		{jwt.ErrTokenSignatureInvalid, "signature"},
		{errKeyUnknown, "unknown_key"},
		{issuers.ErrKey, "unknown_key"},
		{jwt.ErrTokenExpired, "expired"},
		{jwt.ErrTokenUsedBeforeIssued, "issued_in_future"},
		{jwt.ErrTokenNotValidYet, "not_yet_valid"},
		{jwt.ErrTokenInvalidIssuer, "issuer"},
		{issuers.ErrIssuer, "issuer"},
		{issuers.ErrNoSubject, "subject"},
		{issuers.ErrSubjectForm, "subject"},
		{jwt.ErrTokenRequiredClaimMissing, "claim_missing"},
		{issuers.ErrRoomsForm, "rooms_form"},
		{issuers.ErrRoomsCount, "rooms_count"},
		{issuers.ErrRoomsMatch, "rooms_match"},
		{issuers.ErrRoomsCan, "rooms_can"},
		{issuers.ErrType, "type"},
		{issuers.ErrAlgorithm, "algorithm"},
		{errTooLong, "too_long"},
	} {
		if errors.Is(err, cause.is) {
			return cause.word
		}
	}
	return "malformed"
}
