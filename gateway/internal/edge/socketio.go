package edge

import (
	"bufio"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// socketIO serves /socket.io/: it checks the request in the official order and hands the connection to a session.
func (e *Edge) socketIO(w http.ResponseWriter, r *http.Request) {
	upgrade := isUpgrade(r)
	query, err := engineio.ParseQuery(r.URL.RawQuery)
	var refusal *engineio.RequestError
	if err != nil {
		refusal = engineio.ErrBadRequest
	} else {
		refusal = engineio.CheckRequest(engineio.Request{
			Method: r.Method, Query: query, Origin: r.Header.Get("Origin"), Upgrade: upgrade,
			Allow: func() *engineio.RequestError {
				if !e.allowed(r) {
					return engineio.Forbidden("Origin not allowed")
				}
				return nil
			},
		})
	}
	if refusal == nil && query.Transport == engineio.TransportPolling {
		refusal = engineio.ErrUnknownTransport // WebSocket only, so far
	}
	if refusal != nil {
		e.stats.Handshakes.WithLabelValues("refused").Inc()
		refuse(w, refusal, upgrade)
		return
	}
	ip := e.clientIP(r)
	if wait, ok := e.limiter.take(ip, time.Now()); !ok || e.sessions.Count() >= e.cfg.MaxConnections {
		e.stats.Handshakes.WithLabelValues("overload").Inc()
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
		http.Error(w, "Too many connections", http.StatusServiceUnavailable)
		return
	}
	e.upgrade(w, r, session.Headers{Authorization: r.Header.Get("Authorization"), RemoteIP: ip.String()})
}

// isUpgrade tells whether a request asks for a WebSocket.
func isUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}

func (e *Edge) upgrade(w http.ResponseWriter, r *http.Request, headers session.Headers) {
	conn, rw, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		e.log.Debug("upgrade failed", slog.Any("error", err)) // gobwas has answered
		return
	}
	pending, err := unread(rw)
	if err != nil {
		_ = conn.Close()
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAlive(false) // the heartbeat does it
	}
	e.sockets.Serve(conn, pending, func(c transport.Conn) transport.Receiver {
		return e.sessions.Open(c, headers)
	})
}

// unread takes what came with the handshake out of the buffer that is dropped with the request.
func unread(rw *bufio.ReadWriter) ([]byte, error) {
	n := rw.Reader.Buffered()
	if n == 0 {
		return nil, nil
	}
	raw, err := rw.Reader.Peek(n)
	if err != nil {
		return nil, fmt.Errorf("read what came with the handshake: %w", err)
	}
	return append([]byte(nil), raw...), nil
}

// refuse answers with Engine.IO's error: JSON, or plain text and always 400 for a rejected upgrade.
func refuse(w http.ResponseWriter, refusal *engineio.RequestError, upgrade bool) {
	if upgrade {
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(refusal.Message)) // the client is gone otherwise
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(refusal.Status)
	_, _ = w.Write(refusal.AppendJSON(nil)) // the client is gone otherwise
}
