package settings

import "log/slog"

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
