package settings

import (
	"errors"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
)

// URL is an address, or a comma-separated list of addresses, that may contain
// a password. Printing masks the password; it keeps the rest only where it is
// certain what the rest is.
type URL string

// Reveal returns the address with its password.
func (u URL) Reveal() string { return string(u) }

var (
	// What stands before the host, in an address that is well formed.
	keyword  = regexp.MustCompile(`^\s*[a-z_]+\s*=`)
	scheme   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	userinfo = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)@`)
	// password=... and its like, in a query or in a keyword/value connection string. A quote that is not closed hides the rest.
	inQuery   = regexp.MustCompile(`(?i)([?&][a-z_]*(?:password|secret|token|_key)\s*=)[^&]*`)
	inKeyword = regexp.MustCompile(`(?i)((?:^|\s)[a-z_]*(?:password|secret|token|_key)\s*=\s*)('(?:[^'\\]|\\.)*(?:'|$)|\S+)`)
)

// String returns the address with passwords replaced by "****". An address that is not well formed, as one with a / or # in its
// password, is masked from :// to the last @, hosts included.
func (u URL) String() string {
	s := string(u)
	parts := strings.Split(s, ",")
	switch {
	case keyword.MatchString(s):
		return inKeyword.ReplaceAllString(s, "${1}"+mask)
	case wellFormed(parts) != nil:
		return inQuery.ReplaceAllString(bluntly(s), "${1}"+mask)
	}
	for i, part := range parts {
		parts[i] = userinfo.ReplaceAllStringFunc(part, maskUserinfo)
	}
	return inQuery.ReplaceAllString(strings.Join(parts, ","), "${1}"+mask)
}

// maskUserinfo masks the password in scheme://user:password@, and what stands alone unless it can only be a user's name: for NATS
// it is a token.
func maskUserinfo(s string) string {
	match := userinfo.FindStringSubmatch(s)
	user, _, found := strings.Cut(match[2], ":")
	switch {
	case found:
		return match[1] + user + ":" + mask + "@"
	case strings.HasPrefix(strings.ToLower(match[1]), "postgres"):
		return s
	}
	return match[1] + mask + "@"
}

func bluntly(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	return scheme.FindString(s) + mask + s[at:]
}

// Check tells what is wrong with the address, without any of it: what cannot be read may be a password.
func (u URL) Check() error {
	if keyword.MatchString(string(u)) {
		return nil
	}
	return wellFormed(strings.Split(string(u), ","))
}

var (
	errAddress  = errors.New("it is not an address such as scheme://user:password@host:port")
	errUserinfo = errors.New("in its password, the characters / ? # @ : , and % have to be written as %2F %3F %23 %40 %3A %2C and %25")
)

// wellFormed tells whether it is certain which part of an address, or of a list of them, is a password.
func wellFormed(parts []string) error {
	users, addresses := 0, 0
	for i, part := range parts {
		part = strings.TrimSpace(part)
		switch has := strings.Contains(part, "://"); {
		case !has && strings.Contains(part, "@"), has && !scheme.MatchString(part):
			return errUserinfo
		case !has && i > 0: // the next host of the address before
			continue
		case !has:
			addresses++
			continue
		}
		addresses++
		parsed, err := url.Parse(part)
		switch {
		case err != nil && strings.Contains(part, "@"):
			return errUserinfo
		case err != nil:
			return errAddress
		case atBehindHost(parsed):
			return errUserinfo
		case parsed.User != nil:
			users++
		}
	}
	if users > 0 && users < addresses {
		return errUserinfo // perhaps one address with a comma in its password
	}
	return nil
}

// atBehindHost tells of an @ where none belongs: what was read as the host is then the beginning of the userinfo.
func atBehindHost(u *url.URL) bool {
	if strings.Contains(u.Path+u.Fragment, "@") {
		return true
	}
	for param := range strings.SplitSeq(u.RawQuery, "&") {
		if name, _, _ := strings.Cut(param, "="); strings.Contains(name, "@") {
			return true
		}
	}
	return false
}

// GoString masks %#v like String.
func (u URL) GoString() string { return u.String() }

// LogValue masks the passwords in logs.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText masks the passwords in JSON and other text formats.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
