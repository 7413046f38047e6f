package issuers

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/limits"
)

// Claims says where in a token of an issuer something stands: the name of a claim, or of claims in claims with dots between, as in
// realm_access.roles. A claim that has the whole name, dots and all, goes first. "" is the usual place.
type Claims struct {
	ID      string // sub
	Name    string // name
	Picture string // picture
	Role    string // role
	Rooms   string // starling.rooms
}

func (c Claims) complete() Claims {
	return Claims{
		ID: cmp.Or(c.ID, "sub"), Name: cmp.Or(c.Name, "name"), Picture: cmp.Or(c.Picture, "picture"), Role: cmp.Or(c.Role, "role"),
		Rooms: cmp.Or(c.Rooms, "starling.rooms"),
	}
}

// The roles that a token may give.
const (
	roleAdmin = "admin"
	roleUser  = "user"
)

// maxGrants bounds the grants of one token. The size of the token bounds what they say.
const maxGrants = 100

// Grant opens rooms to whoever shows the token that has it.
type Grant struct {
	Match string   // a room's id, in which each * stands for any characters
	Can   []string // of join, read, send
}

// What is wrong with the rooms of a token. A token that says something else than its issuer meant opens nothing, and its user would
// look for the reason in vain: it is refused, and the log says why.
var (
	ErrRoomsForm  = errors.New("the rooms of the token are no list of objects")
	ErrRoomsCount = errors.New("the token opens too many rooms")
	ErrRoomsMatch = errors.New("match, in the rooms of the token, is no room's id")
	ErrRoomsCan   = errors.New("can, in the rooms of the token, is no list of join, read and send")
)

// claims are a token's claims by their names, which are compared letter by letter. A claim that libraries write in more than one
// form is read here: the subject as text or as an integer, the others in the forms that are known, anything else there as absent.
type claims map[string]json.RawMessage

var _ jwt.Claims = claims(nil)

var errDate = errors.New("a time in the token is not a number of seconds since 1970")

// maxDate is the end of the year 9999, in seconds since 1970: what lies beyond does not fit the types of times.
const maxDate = 253_402_300_799

func (c claims) date(name string) (*jwt.NumericDate, error) {
	raw := c[name]
	if !given(raw) {
		return nil, nil //nolint:nilnil // jwt's way to say that there is none
	}
	var seconds float64
	if json.Unmarshal(raw, &seconds) != nil || seconds < 0 || seconds > maxDate {
		return nil, errDate
	}
	var date jwt.NumericDate
	return &date, date.UnmarshalJSON(raw)
}

// GetExpirationTime implements jwt.Claims.
func (c claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.date("exp") }

// GetNotBefore implements jwt.Claims.
func (c claims) GetNotBefore() (*jwt.NumericDate, error) { return c.date("nbf") }

// GetIssuedAt implements jwt.Claims.
func (c claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.date("iat") }

// GetIssuer implements jwt.Claims.
func (c claims) GetIssuer() (string, error) { return text(c["iss"]), nil }

// GetSubject implements jwt.Claims.
func (c claims) GetSubject() (string, error) { return id(c["sub"]) }

// GetAudience implements jwt.Claims.
func (c claims) GetAudience() (list jwt.ClaimStrings, err error) {
	if given(c["aud"]) {
		err = list.UnmarshalJSON(c["aud"])
	}
	return list, err
}

// at finds what stands at a place.
func (c claims) at(place string) json.RawMessage {
	if raw, ok := c[place]; ok {
		return raw
	}
	first, rest, nested := strings.Cut(place, ".")
	if !nested {
		return nil
	}
	var inner claims
	if json.Unmarshal(c[first], &inner) != nil {
		return nil
	}
	return inner.at(rest)
}

// subject is the user's id. A sub of another form than ids have is refused also where the id stands elsewhere: the token is not what
// it says it is.
func (c claims) subject(place string) (string, error) {
	if _, err := id(c["sub"]); errors.Is(err, ErrSubjectForm) {
		return "", err
	}
	return id(c.at(place))
}

// id gives an id as text: libraries write the keys of a table as numbers, which are taken digit by digit, whatever their size.
func id(claim json.RawMessage) (string, error) {
	if s := text(claim); s != "" {
		return s, nil
	}
	raw := string(claim)
	if !given(claim) || raw == `""` {
		return "", ErrNoSubject
	}
	if whole, fraction, found := strings.Cut(raw, "."); found && fraction != "" && strings.Trim(fraction, "0") == "" {
		raw = whole // 42.0
	}
	if digits := strings.TrimPrefix(raw, "-"); digits == "" || strings.Trim(digits, "0123456789") != "" || raw == "-0" {
		return "", ErrSubjectForm
	}
	return raw, nil
}

func (c claims) name(place string) string { return limits.DisplayName(text(c.at(place))) }

func (c claims) picture(place string) string {
	if address := text(c.at(place)); limits.ValidAvatarURL(address) {
		return address
	}
	return ""
}

// role reads one role or a list of them. Who has others than the admin's is a user.
func (c claims) role(place, admin string) string {
	raw := c.at(place)
	var list []string
	if !given(raw) {
		return ""
	}
	if s := text(raw); s != "" {
		list = []string{s}
	} else if json.Unmarshal(raw, &list) != nil || list == nil {
		return ""
	}
	if slices.Contains(list, admin) {
		return roleAdmin
	}
	return roleUser
}

// grants reads the rooms that the token opens.
func (c claims) grants(place string) ([]Grant, error) {
	raw := c.at(place)
	if !given(raw) {
		return nil, nil
	}
	var entries []claims
	switch {
	case json.Unmarshal(raw, &entries) != nil:
		return nil, ErrRoomsForm
	case len(entries) > maxGrants:
		return nil, ErrRoomsCount
	}
	var list []Grant
	for _, entry := range entries {
		if entry == nil {
			return nil, ErrRoomsForm
		}
		match := text(entry["match"])
		if !limits.ValidRoomID(match) {
			return nil, ErrRoomsMatch
		}
		can, err := rights(entry["can"])
		if err != nil {
			return nil, err
		}
		list = append(list, Grant{Match: match, Can: can})
	}
	return list, nil
}

// rights reads what a grant lets its user do, in the order join, read, send.
func rights(raw json.RawMessage) (can []string, err error) {
	var words []string
	if json.Unmarshal(raw, &words) != nil || len(words) == 0 {
		return nil, ErrRoomsCan
	}
	known := []string{"join", "read", "send"}
	for _, word := range words {
		if !slices.Contains(known, word) {
			return nil, ErrRoomsCan
		}
	}
	return slices.DeleteFunc(known, func(word string) bool { return !slices.Contains(words, word) }), nil
}

// given tells whether a claim is there: null is as good as absent.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// text gives a JSON string's value, "" for everything else.
func text(raw json.RawMessage) string {
	s, _ := rawjson.Unquote(raw)
	return s
}
