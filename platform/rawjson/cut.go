package rawjson

import "iter"

// Split yields the raw elements of a JSON array that was checked before, such as the arguments of an event. It yields
// nothing if array is none.
func Split(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := SkipSpace(array, 0)
		if i >= len(array) || array[i] != '[' {
			return
		}
		i = SkipSpace(array, i+1)
		for i < len(array) && array[i] != ']' {
			end := skipValue(array, i)
			if end == i || !yield(array[i:end:end]) {
				return
			}
			i = afterComma(array, end)
		}
	}
}

// First returns the first raw element of a JSON array that was checked before; ok is false if it has none.
func First(array []byte) (element []byte, ok bool) {
	for element := range Split(array) {
		return element, true
	}
	return nil, false
}

// Field returns the raw value of a field of a JSON object that was checked before, such as the content of a CONNECT;
// ok is false if object is none or has no such field. name is ASCII. Of several equal names the last counts, as in
// JavaScript.
func Field(object []byte, name string) (value []byte, ok bool) {
	for key, v := range Members(object) {
		if Is(key, name) {
			value, ok = v, true
		}
	}
	return value, ok
}

// Members yields the members of a JSON object that was checked before, in their order: the raw name with its quotes and the
// raw value. It yields nothing if object is none.
func Members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		i := SkipSpace(object, 0)
		if i >= len(object) || object[i] != '{' {
			return
		}
		i = SkipSpace(object, i+1)
		for i < len(object) && object[i] == '"' {
			keyEnd := skipValue(object, i)
			start := SkipSpace(object, keyEnd)
			if start >= len(object) || object[start] != ':' {
				return
			}
			start = SkipSpace(object, start+1)
			end := skipValue(object, start)
			if end == start || !yield(object[i:keyEnd:keyEnd], object[start:end:end]) {
				return
			}
			i = afterComma(object, end)
		}
	}
}

// afterComma returns the place of the element after the one that ended at end, or of what closes the list.
func afterComma(data []byte, end int) int {
	i := SkipSpace(data, end)
	if i < len(data) && data[i] == ',' {
		i = SkipSpace(data, i+1)
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
