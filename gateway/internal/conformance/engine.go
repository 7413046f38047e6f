package conformance

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
)

// echoApp is the Engine.IO side of the protocol suites: it gives back what comes.
type echoApp struct{}

var _ session.RawApp = echoApp{}

// Opened implements session.RawApp.
func (echoApp) Opened(*session.Session) {}

// Message implements session.RawApp.
func (echoApp) Message(s *session.Session, content []byte, binary bool) { s.Send(content, binary) }

// engineApp answers as the server that engine.io-client's tests run against.
type engineApp struct {
	mu     sync.Mutex             // guards what follows
	posted map[string]http.Header // of the last POST, by sid
}

var _ session.RawApp = (*engineApp)(nil)

func newEngineApp() *engineApp { return &engineApp{posted: make(map[string]http.Header)} }

// Opened implements session.RawApp.
func (*engineApp) Opened(s *session.Session) { s.Send([]byte("hi"), false) }

// Message implements session.RawApp.
func (a *engineApp) Message(s *session.Session, content []byte, binary bool) {
	switch string(content) {
	case "give binary":
		s.Send([]byte{0, 1, 2, 3, 4}, true)
	case "give utf8":
		s.Send([]byte("пойду спать всем спокойной ночи"), false)
	case "sendHeaders":
		s.Send(a.headersOf(s.SID()), false)
	default:
		s.Send(content, binary)
	}
}

// headersOf gives the headers of a session's last POST as JSON, with names in small letters.
func (a *engineApp) headersOf(sid string) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make(map[string]string)
	for name, values := range a.posted[sid] {
		list[strings.ToLower(name)] = strings.Join(values, "; ")
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return []byte("{}") // strings always encode
	}
	return raw
}

// keepPosted bounds how many sessions' headers are kept.
const keepPosted = 1000

// headers refuses ?deny, sets the cookies that the tests look for, and keeps the headers of POSTs.
func (a *engineApp) headers(h http.Header, r *http.Request, handshake bool) *engineio.RequestError {
	query := r.URL.Query()
	switch {
	case handshake && query.Has("deny"):
		return engineio.ErrForbidden
	case handshake:
		for _, cookie := range []string{
			"1=1; Max-Age=86400",
			"2=2; Path=/; HttpOnly; Secure; SameSite=Strict",
			"3=3; Max-Age=0",
			"4=4; Expires=" + time.Now().UTC().Format(http.TimeFormat),
		} {
			h.Add("Set-Cookie", cookie)
		}
	case r.Method == http.MethodPost:
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.posted) >= keepPosted {
			clear(a.posted)
		}
		a.posted[query.Get("sid")] = r.Header.Clone()
	}
	return nil
}
