package session

import (
	"crypto/hmac"
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
func (s *SIDs) New() string {
	head := NewID() + "." + s.gateway
	return head + "." + tag(s.key, head)
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
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(head))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:tagLen])
}
