package auth

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
)

// Bounds of names that people type, in characters.
const (
	minUsername, maxUsername = 3, 32
	maxName                  = 64
)

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
)

// ParseRole knows user and admin.
func ParseRole(s string) (Role, bool) {
	r := Role(s)
	return r, r == RoleUser || r == RoleAdmin
}

// User is a person or program that may connect.
type User struct {
	ID       UserID
	Username string // "" for users of another login system
	Name     string // shown to others
	Role     Role
	// Generation counts revocations of all tokens; a token of an older one is void.
	Generation int64
	// RevokedAt is when that last happened, zero when never; whole milliseconds of the database's clock.
	RevokedAt time.Time
}

// Identity is whom a token speaks for.
type Identity struct {
	UserID   UserID
	Name     string
	Role     Role
	LoginID  LoginID   // "" for tokens signed elsewhere
	IssuedAt time.Time // zero when the token does not say
	Expires  time.Time // zero when it never does
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

// parseName trims spaces; an empty name is replaced by the fallback.
func parseName(s, fallback string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return fallback, nil
	}
	if !printable(s, maxName) {
		return "", fault.Newf(fault.Invalid, "name must be 1 to %d printable characters", maxName)
	}
	return s, nil
}

// printable tells whether s is valid UTF-8 of at most limit characters without control characters.
func printable(s string, limit int) bool {
	if len(s) > limit*utf8.UTFMax || !utf8.ValidString(s) {
		return false
	}
	n := 0
	for _, r := range s {
		if n++; n > limit || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// truncate keeps the first limit characters.
func truncate(s string, limit int) string {
	n := 0
	for i := range s {
		if n == limit {
			return s[:i]
		}
		n++
	}
	return s
}
