package settings

import (
	"log/slog"
	"regexp"
)

const mask = "****"

// Secret is a setting that is never printed, logged or marshalled.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns "****", or "" when the secret is empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString masks %#v like String.
func (s Secret) GoString() string { return s.String() }

// LogValue masks the secret in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks the secret in JSON and other text formats.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// URL is an address, or a comma-separated list of addresses, that may contain
// a password. Printing masks the password and keeps the rest.
type URL string

// Reveal returns the address with its password.
func (u URL) Reveal() string { return string(u) }

var (
	// user:password@ of one or several addresses; a password runs to the last @ before the path.
	userPassword = regexp.MustCompile(`(://[^:/?#@]*):[^/?#]*@`)
	// A NATS user without a password is a token.
	natsToken = regexp.MustCompile(`((?:nats|tls|ws|wss)://)[^:/?#@]+@`)
	// password=... in a query or in a keyword/value connection string.
	passwordParam = regexp.MustCompile(`(?i)((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^&\s]+)`)
)

// String returns the address with passwords replaced by "****".
func (u URL) String() string {
	s := userPassword.ReplaceAllString(string(u), "$1:"+mask+"@")
	s = natsToken.ReplaceAllString(s, "${1}"+mask+"@")
	return passwordParam.ReplaceAllString(s, "${1}"+mask)
}

// GoString masks %#v like String.
func (u URL) GoString() string { return u.String() }

// LogValue masks the passwords in logs.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText masks the passwords in JSON and other text formats.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
