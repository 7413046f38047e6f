package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"time"
)

const (
	refreshSize = 32
	// RefreshGrace is how long a spent refresh token gets its newest descendant, for the tabs of a browser that refresh one token
	// at the same time.
	RefreshGrace = 20 * time.Second
)

// TokenHash is the SHA-256 of a refresh token or an API key, the only form that is stored.
type TokenHash [sha256.Size]byte

// refreshToken is the 256 random bits behind a refresh token.
type refreshToken [refreshSize]byte

func newRefreshToken() refreshToken { return refreshToken(randomBytes(refreshSize)) }

// parseRefreshToken accepts exactly what encode gives.
func parseRefreshToken(s string) (t refreshToken, ok bool) {
	if len(s) != base64.RawURLEncoding.EncodedLen(refreshSize) {
		return t, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(t[:], []byte(s))
	return t, err == nil && n == refreshSize
}

// encode is the form that clients hold.
func (t refreshToken) encode() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

func (t refreshToken) hash() TokenHash { return sha256.Sum256(t[:]) }

// successor needs both the old token, which only the client has, and the salt, which only the store has.
func (t refreshToken) successor(salt []byte) refreshToken {
	mac := hmac.New(sha256.New, t[:])
	mac.Write([]byte("starling refresh token successor "))
	mac.Write(salt)
	return refreshToken(mac.Sum(nil))
}

// descendant is the successor's successor, and so on, by one salt for each step.
func (t refreshToken) descendant(salts [][]byte) refreshToken {
	for _, salt := range salts {
		t = t.successor(salt)
	}
	return t
}
