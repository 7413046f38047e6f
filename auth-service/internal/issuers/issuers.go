package issuers

import (
	"cmp"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/starling-chat/starling/proto/fault"
)

// The algorithms that an issuer may sign with.
const (
	HS256 = "HS256"
	RS256 = "RS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
)

// Why a token is refused, besides what package jwt says of signatures and times.
var (
	ErrAlgorithm   = errors.New("token is of an algorithm that is not accepted here")
	ErrIssuer      = errors.New("token is of an issuer (iss) that is not accepted here")
	ErrAudience    = errors.New("the token is for an audience (aud), and the settings do not say who we are")
	ErrType        = errors.New("token is no access token")
	ErrKey         = errors.New("the key (kid) of the token is unknown")
	ErrNoSubject   = errors.New("token has no subject (sub)")
	ErrSubjectForm = errors.New("the subject (sub) of the token is neither text nor an integer")
	errCritical    = errors.New("token has critical extensions")
)

// Keys are the public keys of an issuer. Key fails with ErrKey for a key that the issuer does not have, and with fault.Unavailable
// while that cannot be told.
type Keys interface {
	Key(ctx context.Context, id, algorithm string) (crypto.PublicKey, error)
}

// Issuer is a login system whose tokens are accepted.
type Issuer struct {
	// Name is the iss of its tokens. Only an issuer with a Secret may have none: tokens then may name whom they like.
	Name       string
	Audiences  []string // of which a token names one; none accepts only tokens that name none
	Algorithms []string
	Secret     string // of HS256; "" where there are Keys
	// OtherSecret is a second one, while one replaces the other; "" = none.
	OtherSecret string
	Keys        Keys
	RequireExp  bool // refuse tokens that never end

	Claims     Claims
	AdminRole  string // what the role is called that makes an admin; "" is admin
	UserPrefix string // stands before the ids of its users, so that they are nobody else's
	// SharesUsers says that its ids mean the same people as those of other issuers, and of users who registered here.
	SharesUsers bool
	Provision   bool // an unknown id becomes a user
}

// Token is what a token says once its signature, times and form have been checked.
type Token struct {
	Issuer   *Issuer
	Subject  string    // the user's id, with the prefix
	Name     string    // fit to be shown; "" when the token does not say
	Picture  string    // an address; "" when the token does not say
	Role     string    // "admin" or "user"; "" when the token does not say
	Rooms    []Grant   // rooms that the token itself opens
	IssuedAt time.Time // zero when the token does not say
	Expires  time.Time // zero when it never does
}

// Set is all issuers. The nil Set accepts nothing.
type Set struct {
	byName map[string][]*verifier
}

// verifier is an issuer with the parser for its tokens.
type verifier struct {
	Issuer
	parser *jwt.Parser
}

// New takes the issuers; clocks may differ by leeway. The error says which of them do not fit together.
func New(list []Issuer, leeway time.Duration) (*Set, error) {
	set := &Set{byName: make(map[string][]*verifier)}
	for i, issuer := range list {
		if err := issuer.check(); err != nil {
			return nil, err
		}
		for _, other := range list[:i] {
			if err := issuer.clash(other); err != nil {
				return nil, err
			}
		}
		issuer.Claims = issuer.Claims.complete()
		issuer.AdminRole = cmp.Or(issuer.AdminRole, roleAdmin)
		set.byName[issuer.Name] = append(set.byName[issuer.Name], &verifier{issuer, issuer.newParser(leeway)})
	}
	return set, nil
}

func (i *Issuer) check() error {
	if len(i.Algorithms) == 0 {
		return fmt.Errorf("%s has no algorithm", i)
	}
	for _, algorithm := range i.Algorithms {
		switch algorithm {
		case HS256:
			if i.Secret == "" {
				return fmt.Errorf("%s signs with HS256 and has no secret", i)
			}
		case RS256, ES256, EdDSA:
			if i.Secret != "" {
				return fmt.Errorf("%s has a secret, which is for HS256, and cannot sign with %s", i, algorithm)
			}
		default:
			return fmt.Errorf("%s: the algorithm %q is none of RS256, ES256, EdDSA, HS256", i, algorithm)
		}
	}
	if i.Name == "" && i.Secret == "" {
		return errors.New("an issuer without a name must have a secret")
	}
	return nil
}

// clash tells why two issuers cannot both be accepted.
func (i *Issuer) clash(other Issuer) error {
	if i.Name == other.Name && slices.ContainsFunc(i.Algorithms, func(a string) bool { return slices.Contains(other.Algorithms, a) }) {
		return fmt.Errorf("%s is there twice", i)
	}
	if i.UserPrefix == other.UserPrefix && !(i.SharesUsers && other.SharesUsers) {
		return fmt.Errorf("%s and %s could give the same id to different users: give one of them a userPrefix, or say \"shareUsers\": true "+
			"if an id means the same person with both", &other, i)
	}
	return nil
}

// String names the issuer in errors.
func (i *Issuer) String() string {
	if i.Name == "" {
		return "the issuer of JWT_SECRET"
	}
	return i.Name
}

func (i *Issuer) newParser(leeway time.Duration) *jwt.Parser {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(i.Algorithms), jwt.WithStrictDecoding(), jwt.WithLeeway(leeway),
		jwt.WithIssuedAt(), // one from the future would outlive every revocation
	}
	if i.Name != "" {
		options = append(options, jwt.WithIssuer(i.Name))
	}
	if len(i.Audiences) > 0 {
		options = append(options, jwt.WithAudience(i.Audiences...))
	}
	if i.RequireExp {
		options = append(options, jwt.WithExpirationRequired())
	}
	return jwt.NewParser(options...)
}

// Header is what a token says of itself, unchecked: good to choose who checks it, and for nothing else.
type Header struct{ Algorithm, Issuer string }

// Read reads the header and the issuer of a token; ok is false when that is not readable.
func Read(token string) (h Header, ok bool) {
	first, rest, _ := strings.Cut(token, ".")
	second, _, dots := strings.Cut(rest, ".")
	if !dots {
		return h, false
	}
	header, payload := fields(first), fields(second)
	return Header{Algorithm: text(header["alg"]), Issuer: text(payload["iss"])}, header != nil && payload != nil
}

func fields(encoded string) (all map[string]json.RawMessage) {
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return all
}

// Knows tells whether an issuer of that name is accepted.
func (s *Set) Knows(issuer string) bool { return s != nil && issuer != "" && len(s.byName[issuer]) > 0 }

// choose finds who checks a token. An issuer without a name checks those that no other one is named in.
func (s *Set) choose(h Header) (*verifier, error) {
	if s == nil {
		return nil, ErrAlgorithm
	}
	named := s.byName[h.Issuer]
	if len(named) == 0 {
		named = s.byName[""]
	}
	for _, v := range named {
		if slices.Contains(v.Algorithms, h.Algorithm) {
			return v, nil
		}
	}
	if len(named) > 0 || h.Algorithm == "" || len(s.byName) == 0 {
		return nil, ErrAlgorithm
	}
	return nil, ErrIssuer
}

// Verify checks everything that can be told from a token alone. A *fault.Error says that it could not be checked; any other error
// says what is wrong with it.
func (s *Set) Verify(ctx context.Context, token string) (Token, error) {
	h, _ := Read(token)
	v, err := s.choose(h)
	if err != nil {
		return Token{}, err
	}
	var c claims
	var outage error // the key could not be looked up: not the token's fault
	_, err = v.parser.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		key, err := v.key(ctx, parsed)
		if _, isFault := errors.AsType[*fault.Error](err); isFault {
			outage = err
		}
		return key, err
	})
	switch {
	case outage != nil:
		return Token{}, outage
	case err != nil:
		return Token{}, err
	case len(v.Audiences) == 0 && given(c["aud"]):
		// RFC 7519, 4.1.3: who does not find itself in the audience of a token must refuse it.
		return Token{}, ErrAudience
	}
	return v.read(c)
}

// key finds the key by which a token has to be signed.
func (v *verifier) key(ctx context.Context, parsed *jwt.Token) (any, error) {
	if err := wellTyped(parsed); err != nil {
		return nil, err
	}
	if v.Secret != "" {
		if v.OtherSecret != "" {
			return jwt.VerificationKeySet{Keys: []jwt.VerificationKey{[]byte(v.Secret), []byte(v.OtherSecret)}}, nil
		}
		return []byte(v.Secret), nil
	}
	id, isText := parsed.Header["kid"].(string)
	if _, there := parsed.Header["kid"]; there && !isText {
		return nil, ErrKey
	}
	algorithm, _ := parsed.Header["alg"].(string)
	return v.Keys.Key(ctx, id, algorithm)
}

// wellTyped refuses what is signed by an issuer and no access token, and what has extensions that must be understood: we understand
// none (RFC 7515, 4.1.11). Many issuers name no better type than JWT.
func wellTyped(t *jwt.Token) error {
	if _, ok := t.Header["crit"]; ok {
		return errCritical
	}
	given, there := t.Header["typ"]
	if !there {
		return nil
	}
	typ, _ := given.(string)
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "jwt", "at+jwt":
		return nil
	}
	return ErrType
}

// read gives the claims their form.
func (v *verifier) read(c claims) (Token, error) {
	subject, err := c.subject(v.Claims.ID)
	if err != nil {
		return Token{}, err
	}
	rooms, err := c.grants(v.Claims.Rooms)
	if err != nil {
		return Token{}, err
	}
	t := Token{
		Issuer: &v.Issuer, Subject: v.UserPrefix + subject, Name: c.name(v.Claims.Name), Picture: c.picture(v.Claims.Picture),
		Role: c.role(v.Claims.Role, v.AdminRole), Rooms: rooms,
	}
	if at, _ := c.GetIssuedAt(); at != nil {
		t.IssuedAt = at.Time
	}
	if at, _ := c.GetExpirationTime(); at != nil {
		t.Expires = at.Time
	}
	return t, nil
}
