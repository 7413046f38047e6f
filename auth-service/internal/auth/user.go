package auth

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/starling-chat/starling/auth-service/internal/issuers"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

// Bounds of the names by which people log in, in characters.
const minUsername, maxUsername = 3, 32

// UserID names a user: a UUIDv7 for users that registered here, anything printable for users of another login system.
type UserID string

// ParseUserID accepts what limits.ValidUserID does; the fault is Invalid.
func ParseUserID(s string) (UserID, error) {
	if !limits.ValidUserID(s) {
		return "", fault.Newf(fault.Invalid, "userId must be 1 to %d printable characters, and not %s", limits.UserIDChars, limits.SystemUserID)
	}
	return UserID(s), nil
}

// LoginID names a login, that is a family of refresh tokens; "" for tokens signed elsewhere.
type LoginID string

// ParseLoginID accepts a UUID.
func ParseLoginID(s string) (LoginID, bool) {
	id, err := uuid.Parse(s)
	return LoginID(id.String()), err == nil
}

// Role is what a user may do beyond chatting.
type Role string

// The roles.
const (
	RoleUser  Role = "user"
	RoleAdmin Role = "admin"
	RoleGuest Role = "guest" // of a user without an account; nobody gives or takes it
)

// ParseRole knows user and admin, the roles that are given.
func ParseRole(s string) (Role, bool) {
	r := Role(s)
	return r, r == RoleUser || r == RoleAdmin
}

// User is a person or program that may connect.
type User struct {
	ID        UserID
	Username  string // "" for users of another login system
	Name      string // shown to others
	Role      Role
	AvatarURL string // "" when there is none
	Disabled  bool   // is not let in
	// PasswordChanges counts them; a login that was begun with another count was begun with another password.
	PasswordChanges int64
	// Generation counts revocations of all tokens; a token of an older one is void.
	Generation int64
	// RevokedAt is when that last happened, zero when never; whole milliseconds of the database's clock.
	RevokedAt time.Time
	// NameVersion grows with every change of Name; 0 for users from before it was kept whose name has not changed since.
	NameVersion int64
	// DescribedAt is when the token was issued that said Name and Role, zero when none did.
	DescribedAt time.Time
}

// Identity is whom a token speaks for.
type Identity struct {
	UserID UserID
	Name   string
	// NameVersion is User.NameVersion where Name is the user's, and 0 where it is what the token says.
	NameVersion int64

	Picture  string // an address; "" when there is none
	Role     Role
	Rooms    []issuers.Grant // that the token itself opens
	LoginID  LoginID         // "" for tokens signed elsewhere
	IssuedAt time.Time       // zero when the token does not say
	Expires  time.Time       // zero when it never does
	// Generation is that of the user by which the token was judged.
	Generation int64
}

// parseUsername gives the canonical, lower-case form, without the blanks that keyboards and forms put around it.
func parseUsername(s string) (string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	ok := len(s) >= minUsername && len(s) <= maxUsername
	for i := range len(s) {
		c := s[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return "", fault.Newf(fault.Invalid, "username must be %d to %d of a-z 0-9 . _ -", minUsername, maxUsername)
	}
	return s, nil
}

// displayName is the name by which a user is shown: what a form or a token says, or else a name that is known to be good.
func displayName(given, fallback string) string {
	if name := limits.DisplayName(given); name != "" {
		return name
	}
	return fallback
}
