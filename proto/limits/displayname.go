package limits

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// DisplayNameChars bounds the name by which a user is shown to others.
const DisplayNameChars = 64

// Characters without a width of their own that names need.
const (
	joiner    = '\u200d' // ZWJ: one emoji of several, letters of Indic scripts
	nonJoiner = '\u200c' // ZWNJ: Persian, Indic scripts
	blackFlag = '\U0001f3f4'
	// Tags after a black flag spell a region: Scotland's flag is blackFlag with five letters and tagEnd.
	tagStart, tagEnd = '\U000e0020', '\U000e007f'
	// blank is a letter of Braille without dots.
	blank = '\u2800'
)

// DisplayName makes a name that came from outside one that can be shown, wherever it enters: a name is never refused and never
// replaced because of a character in it. White space of any kind becomes U+0020, and goes at both ends. Joiners stay. Controls, marks
// and overrides of direction and other characters that nobody sees go, and so does what is no UTF-8. What is longer than
// DisplayNameChars is cut, not inside of what people take for one character. The result is "" when there is nothing to see.
func DisplayName(s string) string {
	if plain(s) {
		return s
	}
	// Input is bounded where it is read, and most of a name is visible: this only keeps the work small.
	if most := 16 * DisplayNameChars * utf8.UTFMax; len(s) > most {
		s = s[:most]
	}
	name := make([]rune, 0, DisplayNameChars+1)
	visible, flag := 0, false
	for _, r := range strings.ToValidUTF8(s, "") {
		isTag := r >= tagStart && r <= tagEnd
		switch {
		case unicode.IsSpace(r), unicode.Is(unicode.Z, r), r == blank:
			r = ' '
		case isTag && flag, r == joiner, r == nonJoiner:
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Noncharacter_Code_Point):
			continue
		case !unicode.In(r, unicode.M, unicode.Other_Default_Ignorable_Code_Point):
			visible++
		}
		flag = r == blackFlag || flag && isTag
		if len(name) > 0 || r != ' ' && r != joiner && r != nonJoiner {
			name = append(name, r)
		}
	}
	if visible == 0 {
		return ""
	}
	return strings.TrimRight(string(name[:cut(name)]), " \u200c\u200d")
}

// plain tells whether there is nothing to do, which is so for almost every name.
func plain(s string) bool {
	if s == "" || len(s) > DisplayNameChars || s[0] == ' ' || s[len(s)-1] == ' ' {
		return s == ""
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// cut tells how much of a name fits. Where the bound falls into one character of several code points, that goes as a whole.
func cut(name []rune) int {
	if len(name) <= DisplayNameChars {
		return len(name)
	}
	end := DisplayNameChars
	for end > 0 && belongsTo(name[:end], name[end]) {
		end--
	}
	if end == 0 {
		return DisplayNameChars // one endless character
	}
	return end
}

// belongsTo tells whether r, after these, is a part of the character that they end with.
func belongsTo(before []rune, r rune) bool {
	const firstRegion, lastRegion = '\U0001f1e6', '\U0001f1ff' // two of them are a flag
	isRegion := func(r rune) bool { return r >= firstRegion && r <= lastRegion }
	switch last := before[len(before)-1]; {
	case last == joiner, r == joiner, r == nonJoiner, unicode.Is(unicode.M, r):
		return true
	case r >= tagStart && r <= tagEnd, r >= '\U0001f3fb' && r <= '\U0001f3ff': // tags, colours of skin
		return true
	case isRegion(r) && isRegion(last):
		n := 0
		for n < len(before) && isRegion(before[len(before)-1-n]) {
			n++
		}
		return n%2 == 1
	}
	return false
}
