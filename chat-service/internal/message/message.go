// Package message has the bounds of what a message holds beside its text, and what is made of it: previews and counts of reactions. It is
// pure, and knows nobody.
package message

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of what clients give.
const (
	MaxData      = 8 << 10 // bytes of JSON
	MaxDataDepth = 8
	MaxMentions  = 50 // users
	MaxKeys      = 20 // different reactions to one message
	MaxKey       = 64 // bytes of a reaction
	previewChars = 140
)

// The formats of a message's text.
const (
	Plain    = "" // "plain" for clients
	Markdown = "markdown"
)

// ParseFormat reads a format from outside; fault Invalid names the field format.
func ParseFormat(s string) (string, error) {
	switch s {
	case "", "plain":
		return Plain, nil
	case Markdown:
		return Markdown, nil
	}
	return "", fault.New(fault.Invalid, "format must be plain or markdown")
}

// Preview is the start of a text, in one line, for whoever answers it.
func Preview(text string) string {
	n := 0
	for i, r := range text {
		if n++; n > previewChars {
			return strings.Map(oneLine, text[:i])
		}
		_ = r
	}
	return strings.Map(oneLine, text)
}

func oneLine(r rune) rune {
	if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
		return ' '
	}
	return r
}

// CheckKey refuses what is no reaction; fault Invalid names the field key.
func CheckKey(key string) error {
	switch {
	case key == "" || len(key) > MaxKey:
		return fault.Newf(fault.Invalid, "key must have 1 to %d bytes", MaxKey)
	case !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl):
		return fault.New(fault.Invalid, "key must consist of printable characters")
	}
	return nil
}

// Count is how many users have reacted with a key.
type Count struct {
	Key string
	N   int
}

// Counts are the reactions to a message, in the order in which their keys came. Nobody changes one: Add makes another one.
type Counts []Count

// Has tells whether somebody has reacted with the key.
func (c Counts) Has(key string) bool {
	for _, count := range c {
		if count.Key == key {
			return true
		}
	}
	return false
}

// Add gives the counts with one more, or one less, of a key. A key of which none is left goes.
func (c Counts) Add(key string, by int) Counts {
	sum := make(Counts, 0, len(c)+1)
	found := false
	for _, count := range c {
		if count.Key == key {
			count.N, found = count.N+by, true
		}
		if count.N > 0 {
			sum = append(sum, count)
		}
	}
	if !found && by > 0 {
		sum = append(sum, Count{key, by})
	}
	return sum
}

// escapedByte is what a byte weighs that JSON writes as \u00XX.
const escapedByte = 6

// Weight is how many bytes a text has in JSON, or a few more.
func Weight(s string) int {
	n := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ':
			n += escapedByte - 1
		case c == '"' || c == '\\':
			n++
		}
	}
	return n
}
