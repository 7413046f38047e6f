package edge

import (
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// isUpgrade tells whether a request asks for a WebSocket. Proxies may write one header as several lines, or a list into one.
func isUpgrade(r *http.Request) bool {
	return hasToken(r.Header.Values("Upgrade"), "websocket") && hasToken(r.Header.Values("Connection"), "upgrade")
}

// hasToken looks for a token in the lines of a header, whatever its case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// sole is the value of a header that is to have one; a proxy may have repeated its line. It is empty when the lines differ.
func sole(h http.Header, name string) string {
	lines := h.Values(name)
	if len(lines) == 0 || slices.ContainsFunc(lines, func(l string) bool { return l != lines[0] }) {
		return ""
	}
	return lines[0]
}

const (
	webSocketVersion = "13"
	keyLength        = 16 // bytes behind Sec-WebSocket-Key
)

// checkWebSocket judges a request for a WebSocket (RFC 6455 §4.2.1) while it is plain HTTP: nothing has been taken for it, and a
// refusal is an answer like others. HTTP/1.0 is served, as by official servers: it is what nginx speaks unless it is told otherwise.
func checkWebSocket(r *http.Request) (key string, refusal *engineio.RequestError) {
	key = sole(r.Header, "Sec-WebSocket-Key")
	nonce, err := base64.StdEncoding.DecodeString(key)
	switch {
	case err != nil || len(nonce) != keyLength:
		return "", badHandshake("Missing or invalid Sec-WebSocket-Key header")
	case sole(r.Header, "Sec-WebSocket-Version") != webSocketVersion:
		return "", badHandshake("Missing or invalid Sec-WebSocket-Version header")
	case r.ContentLength != 0:
		return "", badHandshake("A handshake has no body") // its bytes would be taken for frames
	}
	return key, nil
}

func badHandshake(message string) *engineio.RequestError {
	return &engineio.RequestError{Code: engineio.ErrBadRequest.Code, Message: message, Status: http.StatusBadRequest}
}

// upgrade takes a WebSocket for a session that began with polling, here or at its gateway.
func (e *Endpoint) upgrade(w http.ResponseWriter, r *http.Request, key, sid, owner string) {
	bind := func(c transport.Conn) transport.Receiver { return e.deps.Sessions.Upgrade(sid, c) }
	if owner != "" {
		if !e.room() {
			w.Header().Set("Connection", "close")
			e.overload(w, r, causeConnections, 0, "Too many connections")
			return
		}
		remote, refusal, err := e.deps.Peers.OpenTunnel(r.Context(), owner, sid)
		if err != nil {
			refusal = engineio.ErrUnknownSession // its gateway is gone, and the session with it
		}
		if refusal != nil {
			e.refuse(w, refusal, true)
			return
		}
		bind = remote
	}
	e.accept(w, r, key, bind)
}

// accept takes the connection of a request that checkWebSocket passed over from HTTP, and has it served. What bind stands for may be
// claimed already, by a tunnel: so bind is called on every way out, and a connection that broke meanwhile ends what it was for as
// any other does.
func (e *Endpoint) accept(w http.ResponseWriter, r *http.Request, key string, bind func(transport.Conn) transport.Receiver) {
	answer := switching(w.Header(), key, subprotocol(r))
	conn, rw, err := http.NewResponseController(w).Hijack()
	var early []byte
	if err == nil {
		early, err = unread(rw)
	}
	if err != nil {
		e.deps.Log.DebugContext(r.Context(), "upgrade failed", slog.Any("error", err))
		if conn == nil {
			conn, _ = net.Pipe() // there was nothing to take over
		}
		_ = conn.Close()
	}
	conn, early = takeOver(conn, early)
	if tcp, ok := tcpOf(conn).(*net.TCPConn); ok {
		_ = tcp.SetKeepAlive(false) // the heartbeat does it
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secureConn{secure}
	}
	e.deps.Sockets.Accept(conn, answer, early, bind)
}

// switching is the answer that makes a WebSocket of a connection (RFC 6455 §4.2.2), with the headers that answers have.
func switching(header http.Header, key, protocol string) []byte {
	accept := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // the RFC wants this one
	answer := bytes.NewBuffer(make([]byte, 0, 512))
	answer.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	answer.WriteString(base64.StdEncoding.EncodeToString(accept[:]))
	if protocol != "" {
		answer.WriteString("\r\nSec-WebSocket-Protocol: " + protocol)
	}
	answer.WriteString("\r\n")
	_ = header.WriteSubset(answer, map[string]bool{"Vary": true}) // a buffer takes everything
	answer.WriteString("\r\n")
	return answer.Bytes()
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
