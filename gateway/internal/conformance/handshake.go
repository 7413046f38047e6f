package conformance

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// handshake is what the support server's sockets know of their handshake request, as the official server names it.
type handshake struct {
	Headers map[string]string `json:"headers"`
	Time    string            `json:"time"`
	Address string            `json:"address"`
	XDomain bool              `json:"xdomain"`
	Secure  bool              `json:"secure"`
	Issued  int64             `json:"issued"` // milliseconds since 1970
	URL     string            `json:"url"`
	Query   map[string]string `json:"query"`
	Auth    json.RawMessage   `json:"auth"`
}

func newHandshake(r *http.Request, now time.Time) handshake {
	h := handshake{
		Headers: make(map[string]string, len(r.Header)), Query: make(map[string]string),
		Time: now.Format(time.RFC1123), Issued: now.UnixMilli(), Address: r.RemoteAddr,
		XDomain: r.Header.Get("Origin") != "", Secure: r.TLS != nil, URL: r.RequestURI,
		Auth: json.RawMessage("{}"),
	}
	for name, values := range r.Header {
		h.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	for name, values := range r.URL.Query() {
		h.Query[name] = values[0]
	}
	return h
}

// carry hands the handshake to the App in the one header that a session keeps; nothing else uses it here.
func (h handshake) carry(r *http.Request) error {
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", string(raw))
	return nil
}

// carried reads what carry wrote, with the auth of a CONNECT.
func carried(authorization string, auth []byte) handshake {
	var h handshake
	if err := json.Unmarshal([]byte(authorization), &h); err != nil {
		return handshake{Auth: json.RawMessage("{}")} // the request did not come through carry
	}
	if len(auth) > 0 {
		h.Auth = append(json.RawMessage(nil), auth...)
	}
	return h
}
