package edge

import (
	"net/http"
	"strings"
)

// hasFixedArguments tells whether a handshake comes from a client whose handlers break on an argument more than an event has:
// Python's raise a TypeError, Dart's get a list in place of the payload. Both name themselves in User-Agent, except for Python's
// WebSocket without polling before it, which is known by its cache buster.
func hasFixedArguments(r *http.Request) bool {
	agent := strings.ToLower(r.UserAgent())
	return strings.Contains(agent, "python") || strings.Contains(agent, "aiohttp") || strings.HasPrefix(agent, "dart/") ||
		hasPythonTime(r.URL.RawQuery)
}

// hasPythonTime tells whether the query's "t" is seconds with a fraction, as python-engineio writes it; other clients write letters,
// or no point.
func hasPythonTime(rawQuery string) bool {
	for pair := range strings.SplitSeq(rawQuery, "&") {
		if t, ok := strings.CutPrefix(pair, "t="); ok {
			seconds, fraction, ok := strings.Cut(t, ".")
			return ok && len(seconds) == len("1700000000") && digits(seconds) && digits(fraction)
		}
	}
	return false
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// remoteIP tells the client's address, where there is somebody who knows it.
func (e *Endpoint) remoteIP(r *http.Request) string {
	if e.cfg.RemoteIP == nil {
		return ""
	}
	return e.cfg.RemoteIP(r)
}
