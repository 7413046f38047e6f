package edge

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/proto/fault"
)

// What a client may hold on to by HTTP. A WebSocket has bounds of its own (transport).
const (
	bodyTimeout   = 10 * time.Second // for a request's body to arrive
	answerTimeout = 10 * time.Second // for an answer to be taken
	maxRequests   = 1024             // REST requests at once
	retryAfter    = time.Second
	// spareSockets may be open beside the sessions' own: health checks, pages, REST. They come out of descriptorReserve.
	spareSockets = 100
)

// patience bounds how long the client may take to send its body; the answer's time begins when the body is there. Long polling
// and WebSockets have their own.
func patience(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(now.Add(bodyTimeout)) // a test's recorder has no deadlines
		_ = control.SetWriteDeadline(now.Add(bodyTimeout + restTimeout + answerTimeout))
		next.ServeHTTP(w, r)
	})
}

// bounded refuses requests beyond n at once.
func bounded(n int, next http.Handler) http.Handler {
	slots := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		default:
			writeFault(w, http.StatusServiceUnavailable, fault.Retry(fault.Unavailable, "Too many requests at once", retryAfter))
		}
	})
}

// openConns counts the connections that are not WebSockets, and closes new ones when the descriptors would not do: NATS and the
// services must stay within reach.
type openConns struct {
	most     int // with the sessions; 0 = no bound
	sessions *session.Server

	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

// state is an http.Server's ConnState.
func (o *openConns) state(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if !o.add(c) {
			_ = c.Close() // there is nobody to tell
		}
	case http.StateHijacked, http.StateClosed:
		o.mu.Lock()
		delete(o.conns, c)
		o.mu.Unlock()
	case http.StateActive, http.StateIdle:
	}
}

func (o *openConns) add(c net.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.most > 0 && len(o.conns)+o.sessions.Count() >= o.most+spareSockets {
		return false
	}
	o.conns[c] = struct{}{}
	return true
}
