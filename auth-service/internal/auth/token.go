package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/limits"
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

// External accepts HS256 tokens that the operator's own login system signs. Secret "" accepts none.
type External struct {
	Secret    string
	Issuer    string // "" is not checked
	Audience  string // "" takes tokens that name no audience
	NeedsExp  bool   // refuse tokens without exp
	Provision bool   // an unknown sub becomes a user
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
	external   bool
	userID     UserID
	name       string // "" when the token does not say
	role       Role   // "" when the token does not say
	loginID    LoginID
	generation int64
	issuedAt   time.Time
	expires    time.Time // zero = never
}

// errToken is the one answer for every token that is not good; the cause stays inside.
func errToken(cause error) error { return fault.Refusal(fault.ReasonToken, cause) }

// tokenizer signs and verifies access tokens. There are two kinds and two parsers: each knows one algorithm and one kind
// of key, so that no token can choose how it is verified.
type tokenizer struct {
	cfg      Tokens
	external External
	keys     *keyRing
	own      *jwt.Parser
	foreign  *jwt.Parser // nil without External.Secret
}

func newTokenizer(cfg Tokens, external External, keys *keyRing) *tokenizer {
	t := &tokenizer{cfg: cfg, external: external, keys: keys}
	t.own = jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience), jwt.WithExpirationRequired(), jwt.WithLeeway(cfg.Leeway))
	if external.Secret == "" {
		return t
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithStrictDecoding(), jwt.WithLeeway(cfg.Leeway),
		jwt.WithIssuedAt(), // one from the future would outlive every revocation
	}
	if external.Issuer != "" {
		options = append(options, jwt.WithIssuer(external.Issuer))
	}
	if external.Audience != "" {
		options = append(options, jwt.WithAudience(external.Audience))
	}
	if external.NeedsExp {
		options = append(options, jwt.WithExpirationRequired())
	}
	t.foreign = jwt.NewParser(options...)
	return t
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
	switch algorithm(token) {
	case jwt.SigningMethodEdDSA.Alg():
		return t.verifyOwn(ctx, token)
	case jwt.SigningMethodHS256.Alg():
		if t.foreign != nil {
			return t.verifyForeign(token)
		}
	}
	return verified{}, errToken(errAlgorithm)
}

// algorithm reads the alg header only to choose a parser, which checks it again.
func algorithm(token string) string {
	first, _, ok := strings.Cut(token, ".")
	if !ok {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return ""
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	if json.Unmarshal(raw, &header) != nil {
		return ""
	}
	return header.Algorithm
}

func (t *tokenizer) verifyOwn(ctx context.Context, token string) (verified, error) {
	var c accessClaims
	var outage error // the key could not be looked up: not the token's fault
	_, err := t.own.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		if typ, _ := parsed.Header["typ"].(string); !strings.EqualFold(typ, accessType) {
			return nil, errNoAccessToken
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
	if userErr != nil || !loginOK || !roleOK {
		return verified{}, errToken(userErr)
	}
	return verified{
		userID: user, name: c.Name, role: role, loginID: login, generation: c.Generation,
		issuedAt: time.UnixMilli(c.IssuedMilli), expires: c.ExpiresAt.Time,
	}, nil
}

func (t *tokenizer) verifyForeign(token string) (verified, error) {
	var c foreignClaims
	_, err := t.foreign.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		typ, named := parsed.Header["typ"].(string)
		if named && !strings.EqualFold(typ, "JWT") && !strings.EqualFold(typ, accessType) {
			return nil, errNoAccessToken
		}
		return []byte(t.external.Secret), noCritical(parsed)
	})
	if err != nil {
		return verified{}, errToken(err)
	}
	// RFC 7519, 4.1.3: who does not find itself in the audience of a token must refuse it.
	if t.external.Audience == "" && given(c.Audience) {
		return verified{}, errToken(errAudience)
	}
	v := verified{external: true}
	subject, err := c.subject()
	if err != nil {
		return verified{}, errToken(err)
	}
	// The login system will sign the same subject again: its users are told apart from those whose token has just expired.
	if v.userID, err = ParseUserID(subject); err != nil {
		return verified{}, fault.Refusal(fault.ReasonUserID, err)
	}
	v.name = limits.DisplayName(text(c.Name))
	if role, ok := ParseRole(text(c.Role)); ok {
		v.role = role
	}
	if c.IssuedAt != nil {
		v.issuedAt = c.IssuedAt.Time
	}
	if c.ExpiresAt != nil {
		v.expires = c.ExpiresAt.Time
	}
	return v, nil
}

var errNoAccessToken = errors.New("token is no access token")

// noCritical refuses tokens with extensions that must be understood: we understand none (RFC 7515, 4.1.11).
func noCritical(t *jwt.Token) error {
	if _, ok := t.Header["crit"]; ok {
		return errors.New("token has critical extensions")
	}
	return nil
}
