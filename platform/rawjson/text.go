package rawjson

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendString appends s as a JSON string, byte for byte as JSON.stringify writes it: only quotes, backslashes and
// control characters are escaped. Bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// AppendStrings appends an array of strings.
func AppendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, s)
	}
	return append(dst, ']')
}

// Unquote returns the text of a raw JSON string that was checked before, such as an element of Split; ok is false
// if raw is no string. Halves of surrogate pairs that stand alone become U+FFFD.
func Unquote(raw []byte) (text string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", false
	}
	if Plain(raw) {
		return string(raw[1 : len(raw)-1]), true
	}
	out := make([]byte, 0, len(raw))
	for rest := raw[1 : len(raw)-1]; len(rest) > 0; {
		r, size := nextRune(rest)
		if size == 0 {
			return "", false
		}
		out, rest = utf8.AppendRune(out, r), rest[size:]
	}
	return string(out), true
}

// Plain reports whether a raw JSON string that was checked before has no escape, so that what stands between its quotes is
// the text.
func Plain(raw []byte) bool { return bytes.IndexByte(raw, '\\') < 0 }

// Is reports whether a raw JSON string that was checked before is the text want, which is ASCII, without allocating.
func Is(raw []byte, want string) bool {
	if len(raw) < len(want)+2 {
		return false
	}
	raw = raw[1 : len(raw)-1]
	if len(raw) == len(want) {
		return string(raw) == want
	}
	if Plain(raw) {
		return false
	}
	for i := range len(want) {
		r, size := nextRune(raw)
		if size == 0 || r != rune(want[i]) {
			return false
		}
		raw = raw[size:]
	}
	return len(raw) == 0
}

// nextRune reads one rune, escaped or not, from the content of a JSON string. size is 0 at the end and for escapes
// that JSON doesn't have.
func nextRune(b []byte) (r rune, size int) {
	if len(b) == 0 || b[0] != '\\' {
		return utf8.DecodeRune(b)
	}
	if size = escapeLen(b); size == 0 {
		return 0, 0
	}
	switch c := b[1]; c {
	case 'b':
		return '\b', size
	case 'f':
		return '\f', size
	case 'n':
		return '\n', size
	case 'r':
		return '\r', size
	case 't':
		return '\t', size
	case 'u':
		r, _ = hex4(b)
		if low, ok := hex4(b[size:]); ok && utf16.IsSurrogate(r) {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 2 * size
			}
		}
		if utf16.IsSurrogate(r) {
			r = utf8.RuneError
		}
		return r, size
	default:
		return rune(c), size
	}
}

// hex4 reads an escape of the form \u1234 at the start of b.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
