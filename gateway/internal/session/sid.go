package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
)

// SIDs makes the ids of sessions. A sid names its gateway, so that any other one knows where to pass a request on to, with
// a keyed tag, so that nobody can make one up:
//
//	<20 random characters>.<gateway id>.<tag: 12 characters of HMAC-SHA256>
type SIDs struct {
	gateway string
	key     []byte
	others  [][]byte
}

// NewSIDs makes the ids of one gateway; key is the same in all gateways, save while one replaces the other: then others are known as well.
func NewSIDs(gateway string, key []byte, others ...[]byte) *SIDs {
	return &SIDs{gateway: gateway, key: key, others: others}
}

// Gateway is the id of this gateway.
func (s *SIDs) Gateway() string { return s.gateway }

// New makes a sid of this gateway.
func (s *SIDs) New() string { return s.text(s.new()) }

// sid is what a sid of this gateway has of its own; a session keeps it in place of the text.
type sid struct {
	random [idBytes]byte
	tag    [tagLen]byte
}

func (s *SIDs) new() (id sid) {
	_, _ = rand.Read(id.random[:]) // never fails (crypto/rand)
	sign(&id.tag, s.key, s.head(id))
	return id
}

// head is what the tag is made of: everything before it.
func (s *SIDs) head(id sid) string {
	head := make([]byte, 0, maxSID)
	head = base64.RawURLEncoding.AppendEncode(head, id.random[:])
	return string(append(append(head, '.'), s.gateway...))
}

func (s *SIDs) text(id sid) string {
	text := append(append(make([]byte, 0, maxSID), s.head(id)...), '.')
	return string(base64.RawURLEncoding.AppendEncode(text, id.tag[:]))
}

// parse reads a sid of this gateway. It does not check the tag, which is to be the one of the session.
func (s *SIDs) parse(text string) (id sid, ok bool) {
	const tagChars = tagLen * 8 / 6
	if len(text) != idChars+1+len(s.gateway)+1+tagChars || text[idChars] != '.' ||
		text[idChars+1:len(text)-tagChars-1] != s.gateway || text[len(text)-tagChars-1] != '.' {
		return id, false
	}
	_, err := base64.RawURLEncoding.Decode(id.random[:], []byte(text[:idChars]))
	if err == nil {
		_, err = base64.RawURLEncoding.Decode(id.tag[:], []byte(text[len(text)-tagChars:]))
	}
	return id, err == nil
}

// Owner tells which gateway made a sid; ok is false for one that no gateway made.
func (s *SIDs) Owner(sid string) (gateway string, ok bool) {
	end := strings.LastIndexByte(sid, '.')
	if end < 0 || len(sid) > maxSID {
		return "", false
	}
	isOf := func(key []byte) bool { return hmac.Equal([]byte(sid[end+1:]), []byte(tag(key, sid[:end]))) }
	if !isOf(s.key) && !slices.ContainsFunc(s.others, isOf) {
		return "", false
	}
	_, gateway, ok = strings.Cut(sid[:end], ".")
	return gateway, ok
}

const (
	maxSID = 128
	tagLen = 9 // bytes, 12 characters
)

func tag(key []byte, head string) string {
	var tag [tagLen]byte
	sign(&tag, key, head)
	return base64.RawURLEncoding.EncodeToString(tag[:])
}

func sign(tag *[tagLen]byte, key []byte, head string) {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(head))
	copy(tag[:], mac.Sum(nil))
}
