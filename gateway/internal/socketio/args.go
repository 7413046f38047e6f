package socketio

import "iter"

// SplitArgs yields the raw elements of a JSON array that was checked before, such as the arguments of an event. The
// elements alias args. It yields nothing if args is no array.
func SplitArgs(args []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := skipSpace(args, 0)
		if i >= len(args) || args[i] != '[' {
			return
		}
		i = skipSpace(args, i+1)
		for i < len(args) && args[i] != ']' {
			end := skipValue(args, i)
			if end == i || !yield(args[i:end:end]) {
				return
			}
			i = afterComma(args, end)
		}
	}
}

// FirstArg returns the first raw element of a JSON array that was checked before; ok is false if it has none.
func FirstArg(args []byte) (arg []byte, ok bool) {
	for arg := range SplitArgs(args) {
		return arg, true
	}
	return nil, false
}

// Field returns the raw value of a field of a JSON object that was checked before, such as the content of a CONNECT;
// ok is false if object is none or has no such field. name is ASCII. Of several equal names the last counts, as in
// JavaScript.
func Field(object []byte, name string) (value []byte, ok bool) {
	i := skipSpace(object, 0)
	if i >= len(object) || object[i] != '{' {
		return nil, false
	}
	i = skipSpace(object, i+1)
	for i < len(object) && object[i] == '"' {
		keyEnd := skipValue(object, i)
		start := skipSpace(object, keyEnd)
		if start >= len(object) || object[start] != ':' {
			break
		}
		start = skipSpace(object, start+1)
		end := skipValue(object, start)
		if end == start {
			break
		}
		if keyIs(object[i:keyEnd], name) {
			value, ok = object[start:end:end], true
		}
		i = afterComma(object, end)
	}
	return value, ok
}

// afterComma returns the place of the element after the one that ended at end, or of what closes the list.
func afterComma(data []byte, end int) int {
	i := skipSpace(data, end)
	if i < len(data) && data[i] == ',' {
		i = skipSpace(data, i+1)
	}
	return i
}

// skipValue returns the place after the value at i of JSON that was checked before: the matching bracket, the closing
// quote or the next delimiter. In JSON that was not, it returns some place from i to the end.
func skipValue(data []byte, i int) int {
	open := 0
	for i < len(data) {
		switch data[i] {
		case '"':
			i = skipString(data, i)
		case '[', '{':
			open++
			i++
		case ']', '}':
			if open == 0 {
				return i
			}
			open--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			if open == 0 {
				return i
			}
			i++
			continue
		default:
			i = skipBare(data, i)
		}
		if open == 0 {
			return i
		}
	}
	return i
}

// skipString returns the place after the closing quote of the string that opens at i.
func skipString(data []byte, i int) int {
	for i++; i < len(data); {
		i = skipPlain(data, i)
		switch {
		case i >= len(data):
		case data[i] == '"':
			return i + 1
		case data[i] == '\\':
			i += 2
		default:
			i++
		}
	}
	return len(data)
}

// skipBare returns the place after a number or a literal.
func skipBare(data []byte, i int) int {
	for ; i < len(data); i++ {
		switch data[i] {
		case ',', ':', ']', '}', ' ', '\t', '\n', '\r', '"', '[', '{':
			return i
		}
	}
	return i
}
