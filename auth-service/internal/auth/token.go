package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/starling-chat/starling/auth-service/internal/issuers"
	"github.com/starling-chat/starling/proto/fault"
)

const (
	// maxToken is checked before anything is decoded, in bytes.
	maxToken = 4096
	// accessType is the typ header of our access tokens, RFC 9068.
	accessType = "at+jwt"
)

// Tokens says how access tokens look.
type Tokens struct {
	AccessTTL  time.Duration
	RefreshTTL time.Duration
	Issuer     string
	Audience   string
	Leeway     time.Duration // how far clocks may differ
}

// accessClaims are the claims of our own tokens.
type accessClaims struct {
	jwt.RegisteredClaims
	Name       string `json:"name"`
	Role       string `json:"role"`
	LoginID    string `json:"lid"`
	Generation int64  `json:"gen"`
	// IssuedMilli is iat in milliseconds since the epoch: whole seconds cannot tell before from after a revocation.
	IssuedMilli int64 `json:"iat_ms"`
}

// verified is what a token says once its signature, times and form have been checked.
type verified struct {
	issuer     *issuers.Issuer // nil for our own tokens
	userID     UserID
	name       string // "" when the token does not say
	picture    string // "" when the token does not say
	role       Role   // "" when the token does not say
	rooms      []issuers.Grant
	loginID    LoginID
	generation int64
	issuedAt   time.Time
	expires    time.Time // zero = never
}

// errToken is the one answer for every token that is not good; the cause stays inside.
func errToken(cause error) error { return fault.Refusal(fault.ReasonToken, cause) }

// foreign tells whether another login system signed the token.
func (v verified) foreign() bool { return v.issuer != nil }

// tokenizer signs and verifies access tokens. Our own have a parser that knows one algorithm and one kind of key; all others are the
// issuers'. So no token can choose how it is verified.
type tokenizer struct {
	cfg     Tokens
	keys    *keyRing
	own     *jwt.Parser
	issuers *issuers.Set
}

func newTokenizer(cfg Tokens, others *issuers.Set, keys *keyRing) *tokenizer {
	return &tokenizer{
		cfg: cfg, keys: keys, issuers: others,
		own: jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithStrictDecoding(),
			jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience), jwt.WithExpirationRequired(), jwt.WithLeeway(cfg.Leeway)),
	}
}

// issue signs an access token.
func (t *tokenizer) issue(g Grant) (string, error) {
	key, err := t.keys.signer(g.IssuedAt)
	if err != nil {
		return "", err
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: t.cfg.Issuer, Audience: jwt.ClaimStrings{t.cfg.Audience}, Subject: string(g.User.ID),
			IssuedAt: jwt.NewNumericDate(g.IssuedAt), ExpiresAt: jwt.NewNumericDate(g.IssuedAt.Add(t.cfg.AccessTTL)),
			ID: base64.RawURLEncoding.EncodeToString(randomBytes(12)),
		},
		Name: g.User.Name, Role: string(g.User.Role), LoginID: string(g.LoginID),
		Generation: g.User.Generation, IssuedMilli: g.IssuedAt.UnixMilli(),
	})
	token.Header["typ"] = accessType
	token.Header["kid"] = key.id
	signed, err := token.SignedString(key.private)
	if err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	return signed, nil
}

// verify checks everything that can be told from the token alone. The fault is a refusal for ReasonToken or ReasonUserID,
// or Unavailable when the keys could not be loaded.
func (t *tokenizer) verify(ctx context.Context, token string) (verified, error) {
	switch h, ok := issuers.Read(token); {
	case !ok:
		return verified{}, errToken(issuers.ErrAlgorithm)
	case h.Algorithm == issuers.EdDSA && !t.issuers.Knows(h.Issuer):
		return t.verifyOwn(ctx, token)
	default:
		return t.verifyForeign(ctx, token)
	}
}

func (t *tokenizer) verifyOwn(ctx context.Context, token string) (verified, error) {
	var c accessClaims
	var outage error // the key could not be looked up: not the token's fault
	_, err := t.own.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		if typ, _ := parsed.Header["typ"].(string); !strings.EqualFold(typ, accessType) {
			return nil, issuers.ErrType
		}
		if err := noCritical(parsed); err != nil {
			return nil, err
		}
		id, _ := parsed.Header["kid"].(string)
		key, err := t.keys.verifier(ctx, id)
		if err != nil && !errors.Is(err, errKeyUnknown) {
			outage = err
		}
		return key, err
	})
	switch {
	case outage != nil:
		return verified{}, outage
	case err != nil:
		return verified{}, errToken(err)
	}
	user, userErr := ParseUserID(c.Subject)
	login, loginOK := ParseLoginID(c.LoginID)
	role, roleOK := ParseRole(c.Role)
	if Role(c.Role) == RoleGuest {
		role, roleOK = RoleGuest, user.Guest()
	}
	if userErr != nil || !loginOK || !roleOK {
		return verified{}, errToken(userErr)
	}
	return verified{
		userID: user, name: c.Name, role: role, loginID: login, generation: c.Generation,
		issuedAt: time.UnixMilli(c.IssuedMilli), expires: c.ExpiresAt.Time,
	}, nil
}

func (t *tokenizer) verifyForeign(ctx context.Context, token string) (verified, error) {
	said, err := t.issuers.Verify(ctx, token)
	if _, isFault := errors.AsType[*fault.Error](err); isFault {
		return verified{}, err
	} else if err != nil {
		return verified{}, errToken(err)
	}
	// The login system will sign the same subject again: its users are told apart from those whose token has just expired.
	user, err := ParseUserID(said.Subject)
	if err != nil {
		return verified{}, fault.Refusal(fault.ReasonUserID, err)
	}
	role, _ := ParseRole(said.Role)
	return verified{
		issuer: said.Issuer, userID: user, name: said.Name, picture: said.Picture, role: role, rooms: said.Rooms,
		issuedAt: said.IssuedAt, expires: said.Expires,
	}, nil
}

// noCritical refuses tokens with extensions that must be understood: we understand none (RFC 7515, 4.1.11).
func noCritical(t *jwt.Token) error {
	if _, ok := t.Header["crit"]; ok {
		return errors.New("token has critical extensions")
	}
	return nil
}
