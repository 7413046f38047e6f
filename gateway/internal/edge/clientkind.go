package edge

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/platform/obs"
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

// The likely causes of a refused handshake, for the log: the client learns the protocol's short message alone.
const (
	causeEngine3   = "the client speaks Engine.IO 3: it needs a client for Socket.IO 3 or newer (EIO=4)"
	causeNoVersion = "the query has no EIO=4: it is no Socket.IO client, or a proxy has cut the query"
	causeTransport = "the query's transport is neither polling nor websocket: it is a client for Socket.IO 0.9, no Socket.IO client, or one set to another transport"
)

// suspicionInterval is the time between two lines with the same likely cause.
const suspicionInterval = time.Minute

// newSuspicions makes a sampler for each likely cause.
func newSuspicions() map[string]*obs.Sampler {
	samplers := make(map[string]*obs.Sampler)
	for _, cause := range []string{causeEngine3, causeNoVersion, causeTransport} {
		samplers[cause] = obs.NewSampler(suspicionInterval)
	}
	return samplers
}

// suspect logs what is likely wrong with a client that was refused, where the refusal tells its developer nothing.
func (e *Endpoint) suspect(r *http.Request, query engineio.Query, refusal *engineio.RequestError) {
	cause := ""
	switch {
	case refusal.Code == engineio.ErrUnsupportedVersion.Code && query.EIO == "3":
		cause = causeEngine3
	case refusal.Code == engineio.ErrUnsupportedVersion.Code:
		cause = causeNoVersion
	case refusal.Code == engineio.ErrUnknownTransport.Code:
		cause = causeTransport
	default:
		return
	}
	if held, ok := e.suspicions[cause].Take(time.Now()); ok {
		e.deps.Log.WarnContext(r.Context(), "handshake refused", slog.String("likely_cause", cause),
			slog.String("remote_ip", e.remoteIP(r)), slog.Int("more_since_the_last_line", held))
	}
}

// remoteIP tells the client's address, where there is somebody who knows it.
func (e *Endpoint) remoteIP(r *http.Request) string {
	if e.cfg.RemoteIP == nil {
		return ""
	}
	return e.cfg.RemoteIP(r)
}
