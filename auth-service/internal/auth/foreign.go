package auth

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// foreignClaims are the claims that we know of a token that another login system signed. A claim that libraries write in more
// than one form is read here: the subject as text or as an integer, the name and the role as text, anything else there as absent.
type foreignClaims struct {
	Issuer    string           `json:"iss"`
	Audience  json.RawMessage  `json:"aud"`
	Subject   json.RawMessage  `json:"sub"`
	ExpiresAt *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
	Name      json.RawMessage  `json:"name"`
	Role      json.RawMessage  `json:"role"`
}

var _ jwt.Claims = (*foreignClaims)(nil)

var (
	errNoSubject   = errors.New("token has no subject (sub)")
	errSubjectForm = errors.New("the subject (sub) of the token is neither text nor an integer")
	errAudience    = errors.New("the token is for an audience (aud), and JWT_AUDIENCE, which says who we are, is not set")
)

// GetExpirationTime implements jwt.Claims.
func (c *foreignClaims) GetExpirationTime() (*jwt.NumericDate, error) { return c.ExpiresAt, nil }

// GetNotBefore implements jwt.Claims.
func (c *foreignClaims) GetNotBefore() (*jwt.NumericDate, error) { return c.NotBefore, nil }

// GetIssuedAt implements jwt.Claims.
func (c *foreignClaims) GetIssuedAt() (*jwt.NumericDate, error) { return c.IssuedAt, nil }

// GetIssuer implements jwt.Claims.
func (c *foreignClaims) GetIssuer() (string, error) { return c.Issuer, nil }

// GetSubject implements jwt.Claims.
func (c *foreignClaims) GetSubject() (string, error) { return c.subject() }

// GetAudience implements jwt.Claims.
func (c *foreignClaims) GetAudience() (list jwt.ClaimStrings, err error) {
	if given(c.Audience) {
		err = list.UnmarshalJSON(c.Audience)
	}
	return list, err
}

// subject gives the subject as text: libraries write the keys of a table as numbers, which are taken digit by digit, whatever
// their size.
func (c *foreignClaims) subject() (string, error) {
	if s := text(c.Subject); s != "" {
		return s, nil
	}
	raw := string(c.Subject)
	if !given(c.Subject) || raw == `""` {
		return "", errNoSubject
	}
	if whole, fraction, found := strings.Cut(raw, "."); found && fraction != "" && strings.Trim(fraction, "0") == "" {
		raw = whole // 42.0
	}
	if digits := strings.TrimPrefix(raw, "-"); digits == "" || strings.Trim(digits, "0123456789") != "" || raw == "-0" {
		return "", errSubjectForm
	}
	return raw, nil
}

// given tells whether a claim is there: null is as good as absent.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// text gives a JSON string's value, "" for everything else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
