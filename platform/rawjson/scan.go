package rawjson

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

var (
	// ErrTooDeep tells that arrays and objects nest beyond the bound.
	ErrTooDeep = errors.New("JSON is nested too deeply")
	// ErrRefused tells that Watch.Object refused an object.
	ErrRefused = errors.New("an object in JSON is refused")
)

// SyntaxError tells that data is not one JSON value in UTF-8.
type SyntaxError struct {
	Offset int // of the byte that cannot stand there
}

// Error returns the place for logs.
func (e *SyntaxError) Error() string { return "not JSON at byte " + strconv.Itoa(e.Offset) }

// Valid checks that data is one JSON value in UTF-8 that nests at most maxDepth arrays and objects. It returns nil, a
// *SyntaxError or ErrTooDeep; what follows the place that is too deep is not looked at.
func Valid(data []byte, maxDepth int) error {
	s := Scanner{Data: data, MaxDepth: maxDepth}
	return s.Scan()
}

// Span is a part of the scanned bytes; the empty Span stands for a part that is absent.
type Span struct{ Start, End int }

// Watch looks at the objects that have a certain member. It deals in places and truth rather than in bytes and errors so that
// neither the scanned bytes nor what Object captures has to live on the heap.
type Watch struct {
	// Names are two members, in ASCII.
	Names [2]string
	// Object is called at the end of every object that has the first of them, with the place of the object and of the values
	// of both; of several equal names the last counts, as in JavaScript. By false it refuses the object, which ends the scan.
	Object func(open int, values [2]Span) bool
}

// Scanner checks JSON (RFC 8259) by recursive descent, in one pass and without building anything. Each method takes
// the place where its part begins and returns the place after it, or -1 with failure set.
//
//	value ──┬── object ── { str : value , … }   ── the watched members of each
//	        ├── array  ── [ value , … ]         ── of the outermost: where the first element lies
//	        ├── str, number
//	        └── literal: true false null
type Scanner struct {
	Data     []byte
	MaxDepth int
	Watch    *Watch // nil watches nothing

	// First is the first element of the outermost array, also when the scan failed after it.
	First Span
	// End is the place after the value.
	End int

	failure failure
	at      int // where, of a failure badSyntax
}

// failure is why a scan ended early.
type failure byte

const (
	badSyntax failure = iota + 1
	tooDeep
	refused
)

// Scan scans Data as one value with optional space around it. It returns nil, a *SyntaxError, ErrTooDeep or ErrRefused.
func (s *Scanner) Scan() error {
	if s.End = s.value(SkipSpace(s.Data, 0), 0); s.End >= 0 {
		if i := SkipSpace(s.Data, s.End); i != len(s.Data) {
			s.fail(i)
		}
	}
	switch s.failure {
	case badSyntax:
		return &SyntaxError{Offset: s.at}
	case tooDeep:
		return ErrTooDeep
	case refused:
		return ErrRefused
	default:
		return nil
	}
}

func (s *Scanner) fail(at int) int {
	s.failure, s.at = badSyntax, at
	return -1
}

// value scans the value at i, where depth arrays and objects are open around it.
func (s *Scanner) value(i, depth int) int {
	if i >= len(s.Data) {
		return s.fail(i)
	}
	switch c := s.Data[i]; c {
	case '"':
		return s.str(i)
	case '{', '[':
		if depth >= s.MaxDepth {
			s.failure = tooDeep
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

func (s *Scanner) array(i, depth int) int {
	i = SkipSpace(s.Data, i+1)
	if i < len(s.Data) && s.Data[i] == ']' {
		return i + 1
	}
	for first := depth == 1; ; first = false {
		start := i
		if i = s.value(i, depth); i < 0 {
			return -1
		}
		if first {
			s.First = Span{start, i}
		}
		i = SkipSpace(s.Data, i)
		if i >= len(s.Data) {
			return s.fail(i)
		}
		switch s.Data[i] {
		case ',':
			i = SkipSpace(s.Data, i+1)
		case ']':
			return i + 1
		default:
			return s.fail(i)
		}
	}
}

func (s *Scanner) object(i, depth int) int {
	open := i
	i = SkipSpace(s.Data, i+1)
	if i < len(s.Data) && s.Data[i] == '}' {
		return i + 1
	}
	var watched [2]Span
	for {
		if i >= len(s.Data) || s.Data[i] != '"' {
			return s.fail(i)
		}
		keyStart := i
		if i = s.str(i); i < 0 {
			return -1
		}
		key := s.Data[keyStart:i]
		i = SkipSpace(s.Data, i)
		if i >= len(s.Data) || s.Data[i] != ':' {
			return s.fail(i)
		}
		start := SkipSpace(s.Data, i+1)
		if i = s.value(start, depth); i < 0 {
			return -1
		}
		if s.Watch != nil {
			if Is(key, s.Watch.Names[0]) {
				watched[0] = Span{start, i}
			} else if Is(key, s.Watch.Names[1]) {
				watched[1] = Span{start, i}
			}
		}
		i = SkipSpace(s.Data, i)
		if i >= len(s.Data) {
			return s.fail(i)
		}
		switch s.Data[i] {
		case ',':
			i = SkipSpace(s.Data, i+1)
		case '}':
			if watched[0].End > 0 && !s.Watch.Object(open, watched) {
				s.failure = refused
				return -1
			}
			return i + 1
		default:
			return s.fail(i)
		}
	}
}

func (s *Scanner) literal(i int, word string) int {
	if len(s.Data)-i < len(word) || string(s.Data[i:i+len(word)]) != word {
		return s.fail(i)
	}
	return i + len(word)
}

// number scans -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *Scanner) number(i int) int {
	at := i
	if i < len(s.Data) && s.Data[i] == '-' {
		i++
	}
	intStart := i
	if i = s.digits(i); i == intStart || s.Data[intStart] == '0' && i > intStart+1 {
		return s.fail(at)
	}
	if i < len(s.Data) && s.Data[i] == '.' {
		fraction := i + 1
		if i = s.digits(fraction); i == fraction {
			return s.fail(at)
		}
	}
	if i < len(s.Data) && s.Data[i]|0x20 == 'e' {
		i++
		if i < len(s.Data) && (s.Data[i] == '+' || s.Data[i] == '-') {
			i++
		}
		exponent := i
		if i = s.digits(i); i == exponent {
			return s.fail(at)
		}
	}
	return i
}

func (s *Scanner) digits(i int) int {
	for i < len(s.Data) && '0' <= s.Data[i] && s.Data[i] <= '9' {
		i++
	}
	return i
}

// str scans the string whose opening quote is at i.
func (s *Scanner) str(i int) int {
	data := s.Data
	for i++; ; {
		i = skipPlain(data, i)
		if i >= len(data) {
			return s.fail(i)
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			n := escapeLen(data[i:])
			if n == 0 {
				return s.fail(i)
			}
			i += n
		case c < ' ':
			return s.fail(i)
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size == 1 {
				return s.fail(i)
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

// SkipSpace returns the place of the first byte at or after i that is not JSON's white space.
func SkipSpace(data []byte, i int) int {
	for i < len(data) && data[i] <= ' ' && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}
