package auth

import (
	_ "embed"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/starling-chat/starling/proto/fault"
)

// Bounds of passwords, in characters.
const (
	minPassword, maxPassword = 8, 200
	// minBeside is how many characters a password must have beside the user name in it.
	minBeside = 4
)

// commonPasswords are some 12,000 passwords of 8 characters or more that attackers try first: one a line, in lower case, between
// line breaks. Most come from the frequency lists of zxcvbn (Dropbox, MIT), which count leaked passwords.
//
//go:embed common_passwords.txt
var commonPasswords string

// password is a password in the form that is hashed, NFC: keyboards differ in whether they make é of one character or of two, and
// show the same.
type password string

// parsePassword takes what somebody typed who logs in; the fault is Invalid. typed is another reading of it, "" where there is none:
// releases before the first one with NFC hashed the characters as they came.
func parsePassword(s string) (p password, typed password, err error) {
	p = password(norm.NFC.String(s))
	characters := utf8.RuneCountInString(s)
	if characters < minPassword || p.characters() > maxPassword || !utf8.ValidString(s) {
		return "", "", errPassword()
	}
	if string(p) != s && characters <= maxPassword {
		typed = password(s)
	}
	return p, typed, nil
}

// newPassword takes a password that somebody chooses: none that is guessed at once. The fault is Invalid.
func newPassword(s, username string) (password, error) {
	p, _, err := parsePassword(s)
	if err != nil {
		return "", err
	}
	folded := strings.TrimSpace(strings.ToLower(norm.NFKC.String(s)))
	rest := strings.ReplaceAll(folded, username, "")
	switch {
	case p.characters() < minPassword:
		return "", errPassword()
	case strings.Contains(commonPasswords, "\n"+folded+"\n"):
		return "", fault.New(fault.Invalid, "password is one of the most common ones, choose another")
	case utf8.RuneCountInString(rest) < minBeside:
		return "", fault.New(fault.Invalid, "password must not be made of the username")
	}
	return p, nil
}

func (p password) characters() int { return utf8.RuneCountInString(string(p)) }

func errPassword() error {
	return fault.Newf(fault.Invalid, "password must be %d to %d characters", minPassword, maxPassword)
}
