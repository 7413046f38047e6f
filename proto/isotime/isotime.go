// Package isotime is how clients, in events and REST, get times.
package isotime

import "time"

// Layout is ISO 8601 with milliseconds, for times in UTC.
const Layout = "2006-01-02T15:04:05.000Z"

// Format writes a time for clients.
func Format(t time.Time) string { return t.UTC().Format(Layout) }

// Append is Format to the end of b.
func Append(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, Layout) }
