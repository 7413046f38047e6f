package socketio

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// ownDepth bounds the recursion over packets that did not come from Decode; it is that of encoding/json.
const ownDepth = 10_000

// Valid checks that data is one JSON value in UTF-8 that nests at most maxDepth arrays and objects. It returns nil, a
// *ProtocolError (BadJSON) or ErrTooDeep; what follows the place that is too deep is not looked at.
func Valid(data []byte, maxDepth int) error {
	s := scanner{data: data, maxDepth: maxDepth, attachments: -1}
	return s.whole()
}

// scanner checks JSON (RFC 8259) by recursive descent, in one pass and without building anything. Each method takes
// the place where its part begins and returns the place after it, or -1 with err set.
//
//	value ──┬── object ── { str : value , … }   ── placeholder?
//	        ├── array  ── [ value , … ]         ── of the outermost: where the first element lies
//	        ├── str, number
//	        └── literal: true false null
type scanner struct {
	data     []byte
	maxDepth int
	// attachments is how many there are for placeholders to point at; -1 = don't look for placeholders.
	attachments int

	// seen has a bit for each attachment that a placeholder pointed at.
	seen uint64
	// firstStart and firstEnd bound the first element of the outermost array, once it was scanned.
	firstStart, firstEnd int
	// end is the place after the value.
	end int
	err error
}

// whole scans data as one value with optional space around it.
func (s *scanner) whole() error {
	start := skipSpace(s.data, 0)
	if s.end = s.value(start, 0); s.end < 0 {
		return s.err
	}
	if i := skipSpace(s.data, s.end); i != len(s.data) {
		s.fail(BadJSON, i)
		return s.err
	}
	if s.attachments > 0 && bits.OnesCount64(s.seen) != s.attachments {
		s.fail(BadPlaceholder, s.end)
	}
	return s.err
}

func (s *scanner) fail(reason Reason, at int) int {
	s.err = &ProtocolError{Reason: reason, Offset: at}
	return -1
}

// value scans the value at i, where depth arrays and objects are open around it.
func (s *scanner) value(i, depth int) int {
	if i >= len(s.data) {
		return s.fail(BadJSON, i)
	}
	switch c := s.data[i]; c {
	case '"':
		return s.str(i)
	case '{', '[':
		if depth >= s.maxDepth {
			s.err = ErrTooDeep
			return -1
		}
		if c == '{' {
			return s.object(i, depth+1)
		}
		return s.array(i, depth+1)
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	default:
		return s.number(i)
	}
}

func (s *scanner) array(i, depth int) int {
	i = skipSpace(s.data, i+1)
	if i < len(s.data) && s.data[i] == ']' {
		return i + 1
	}
	for first := depth == 1; ; first = false {
		start := i
		if i = s.value(i, depth); i < 0 {
			return -1
		}
		if first {
			s.firstStart, s.firstEnd = start, i
		}
		i = skipSpace(s.data, i)
		if i >= len(s.data) {
			return s.fail(BadJSON, i)
		}
		switch s.data[i] {
		case ',':
			i = skipSpace(s.data, i+1)
		case ']':
			return i + 1
		default:
			return s.fail(BadJSON, i)
		}
	}
}

func (s *scanner) object(i, depth int) int {
	open := i
	i = skipSpace(s.data, i+1)
	if i < len(s.data) && s.data[i] == '}' {
		return i + 1
	}
	var mark, num []byte
	for {
		if i >= len(s.data) || s.data[i] != '"' {
			return s.fail(BadJSON, i)
		}
		keyStart := i
		if i = s.str(i); i < 0 {
			return -1
		}
		key := s.data[keyStart:i]
		i = skipSpace(s.data, i)
		if i >= len(s.data) || s.data[i] != ':' {
			return s.fail(BadJSON, i)
		}
		start := skipSpace(s.data, i+1)
		if i = s.value(start, depth); i < 0 {
			return -1
		}
		if s.attachments >= 0 {
			// The last of several equal keys counts, as in JavaScript.
			if keyIs(key, "_placeholder") {
				mark = s.data[start:i]
			} else if keyIs(key, "num") {
				num = s.data[start:i]
			}
		}
		i = skipSpace(s.data, i)
		if i >= len(s.data) {
			return s.fail(BadJSON, i)
		}
		switch s.data[i] {
		case ',':
			i = skipSpace(s.data, i+1)
		case '}':
			if string(mark) == "true" && !s.placeholder(num) {
				return s.fail(BadPlaceholder, open)
			}
			return i + 1
		default:
			return s.fail(BadJSON, i)
		}
	}
}

// placeholder notes which attachment {"_placeholder":true,"num":num} stands for and reports whether there is one.
func (s *scanner) placeholder(num []byte) bool {
	n, end, ok := decimal(num, 0)
	if !ok || end != len(num) || n >= int64(s.attachments) {
		return false
	}
	s.seen |= 1 << n
	return true
}

func (s *scanner) literal(i int, word string) int {
	if len(s.data)-i < len(word) || string(s.data[i:i+len(word)]) != word {
		return s.fail(BadJSON, i)
	}
	return i + len(word)
}

// number scans -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *scanner) number(i int) int {
	at := i
	if i < len(s.data) && s.data[i] == '-' {
		i++
	}
	intStart := i
	if i = s.digits(i); i == intStart || s.data[intStart] == '0' && i > intStart+1 {
		return s.fail(BadJSON, at)
	}
	if i < len(s.data) && s.data[i] == '.' {
		fraction := i + 1
		if i = s.digits(fraction); i == fraction {
			return s.fail(BadJSON, at)
		}
	}
	if i < len(s.data) && s.data[i]|0x20 == 'e' {
		i++
		if i < len(s.data) && (s.data[i] == '+' || s.data[i] == '-') {
			i++
		}
		exponent := i
		if i = s.digits(i); i == exponent {
			return s.fail(BadJSON, at)
		}
	}
	return i
}

func (s *scanner) digits(i int) int {
	for i < len(s.data) && '0' <= s.data[i] && s.data[i] <= '9' {
		i++
	}
	return i
}

// str scans the string whose opening quote is at i.
func (s *scanner) str(i int) int {
	data := s.data
	for i++; ; {
		i = skipPlain(data, i)
		if i >= len(data) {
			return s.fail(BadJSON, i)
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			n := escapeLen(data[i:])
			if n == 0 {
				return s.fail(BadJSON, i)
			}
			i += n
		case c < ' ':
			return s.fail(BadJSON, i)
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size == 1 {
				return s.fail(BadJSON, i)
			}
			i += size
		}
	}
}

// escapeLen returns the length of the escape at the start of b, which begins with a backslash; 0 if there is no such
// escape in JSON.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b); ok {
			return 6
		}
	}
	return 0
}

// skipPlain returns the place of the next byte of data[i:] that a string has to look at: a quote, a backslash, a
// control character or a part of a longer rune.
//
// Eight bytes are looked at in one word. The top bit of a byte of "stop" is set by
//
//	v                     where the byte is 0x80 or more
//	v - 0x20…             where it is below 0x20
//	(v ^ 0x22…) - 0x01…   where it is a quote
//	(v ^ 0x5c…) - 0x01…   where it is a backslash
//
// A subtraction borrows only from a byte that is a hit itself, so false hits lie above the lowest one, which counts.
func skipPlain(data []byte, i int) int {
	const (
		ones = 0x0101010101010101
		top  = ones << 7
	)
	for i+8 <= len(data) {
		v := binary.LittleEndian.Uint64(data[i:])
		stop := (v | (v - ones*' ') | ((v ^ ones*'"') - ones) | ((v ^ ones*'\\') - ones)) & top
		if stop != 0 {
			return i + bits.TrailingZeros64(stop)>>3
		}
		i += 8
	}
	for i < len(data) {
		if c := data[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
		i++
	}
	return i
}

// skipSpace returns the place of the first byte at or after i that is not JSON's white space.
func skipSpace(data []byte, i int) int {
	for i < len(data) && data[i] <= ' ' && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}
