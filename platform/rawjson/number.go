package rawjson

import (
	"math"
	"strconv"
)

// maxWhole is as far as JavaScript's numbers count without a gap; such a number also fits a bigint column of PostgreSQL.
const maxWhole = 1<<53 - 1

// Whole returns the whole number from 0 to 2^53-1 that a raw JSON number, checked before, stands for; ok is false if raw is none.
// How the number is written does not matter, as it does not to JavaScript: encoders of other languages write 5.0 or 5e0 for 5.
func Whole(raw []byte) (n uint64, ok bool) {
	if n, err := strconv.ParseUint(string(raw), 10, 53); err == nil {
		return n, true
	}
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f < 0 || f > maxWhole || f != math.Trunc(f) {
		return 0, false
	}
	return uint64(f), true
}

// PlainWhole returns value, JSON that was checked before, with whole numbers written in digits alone: 5 for 5.0 and 5e0. It is
// for decoders that take nothing else for an integer.
func PlainWhole(value []byte) []byte {
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); {
		end := i + 1
		switch c := value[i]; {
		case c == '"':
			end = skipString(value, i)
		case c == '-' || '0' <= c && c <= '9':
			end = skipBare(value, i)
			out = appendNumber(out, value[i:end])
			i = end
			continue
		}
		out = append(out, value[i:end]...)
		i = end
	}
	return out
}

// appendNumber appends a raw number, in digits alone if it is whole.
func appendNumber(dst, raw []byte) []byte {
	magnitude := raw
	if raw[0] == '-' {
		magnitude = raw[1:]
	}
	n, ok := Whole(magnitude)
	if !ok {
		return append(dst, raw...)
	}
	if len(magnitude) < len(raw) && n != 0 {
		dst = append(dst, '-')
	}
	return strconv.AppendUint(dst, n, 10)
}
