package session

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/transport"
)

// PollRequest is a polling request, wherever it came in.
type PollRequest struct {
	Method      string
	Query       engineio.Query
	ContentType string
	Body        []byte
	Hold        time.Duration // a GET without packets is answered with 204 after that; 0 = it waits for some
}

// PollResponse is the answer to a polling request.
type PollResponse struct {
	Status      int
	ContentType string
	Body        []byte
}

const (
	typeText = "text/plain; charset=UTF-8"
	typeHTML = "text/html"
	typeJSON = "application/json"
	// holdWhileProbing is how long a GET waits while the client tries its WebSocket: answered at once the client would
	// poll in a loop, not at all it would stall.
	holdWhileProbing = 100 * time.Millisecond
	// closedFor is how long the final packets to a polling client wait for its next GET.
	closedFor = 10 * time.Second
)

// Refusal is an Engine.IO error as an answer.
func Refusal(e *engineio.RequestError) PollResponse {
	return PollResponse{Status: e.Status, ContentType: typeJSON, Body: e.AppendJSON(nil)}
}

// OpenPolling starts a session on long polling and gives the answer to its first GET.
func (s *Server) OpenPolling(sockets *transport.Server, headers Headers) PollResponse {
	conn := sockets.NewPolling()
	session, refused := s.open(conn, headers, []string{engineio.TransportWebSocket})
	if refused {
		return PollResponse{Status: http.StatusServiceUnavailable, ContentType: typeText}
	}
	first := s.get(context.Background(), session, conn) //nolint:forbidigo // does not wait: the open packet is queued
	session.rawOpened()
	return first
}

// Transport tells what a session of this gateway is on; "" when there is none.
func (s *Server) Transport(sid string) string {
	return transportOf(s.session(sid))
}

func transportOf(session *Session) string {
	switch {
	case session == nil:
		return ""
	case session.polling() != nil && !session.upgraded():
		return engineio.TransportPolling
	}
	return engineio.TransportWebSocket
}

// Poll answers a polling request for a session of this gateway. A ctx that ends means that the client is gone.
func (s *Server) Poll(ctx context.Context, r PollRequest) PollResponse {
	session := s.session(r.Query.SID)
	known := transportOf(session)
	if session == nil {
		if last, ok := s.finalPackets(r); ok {
			return last
		}
	}
	if refusal := engineio.CheckRequest(engineio.Request{Method: r.Method, Query: r.Query, SessionTransport: known}); refusal != nil {
		return Refusal(refusal)
	}
	conn := session.polling()
	if session.overdue(time.Now()) {
		session.Close(transport.CodeGoingAway, transport.ReasonPingTimeout)
		return Refusal(engineio.ErrUnknownSession)
	}
	if r.Method == http.MethodPost {
		return s.post(ctx, session, conn, r)
	}
	if session.probing.Load() {
		return s.hold(ctx, session, conn, holdWhileProbing, Noop)
	}
	if r.Hold > 0 {
		return s.hold(ctx, session, conn, r.Hold, PollResponse{Status: http.StatusNoContent})
	}
	return s.get(ctx, session, conn)
}

// get waits for packets. What goes wrong ends the session: the client opens a new one, and recovers.
func (s *Server) get(ctx context.Context, session *Session, conn *transport.Polling) PollResponse {
	body, err := conn.Poll(ctx)
	return s.polled(session, conn, body, err)
}

func (s *Server) polled(session *Session, conn *transport.Polling, body []byte, err error) PollResponse {
	switch {
	case err == nil:
		return PollResponse{Status: http.StatusOK, ContentType: typeText, Body: body}
	case errors.Is(err, transport.ErrOverlap):
		conn.CloseOverlapped()
	case errors.Is(err, transport.ErrUpgraded), errors.Is(err, transport.ErrClosed):
	default: // the client aborted the request: it cannot know what was in the answer
		session.Close(transport.CodeNormal, transport.ReasonLost)
	}
	return Refusal(engineio.ErrBadRequest)
}

// Noop answers a GET that is to be asked again: while the client tries its WebSocket, or somewhere else.
var Noop = PollResponse{Status: http.StatusOK, ContentType: typeText, Body: []byte{byte(engineio.Noop)}} //nolint:gochecknoglobals // a constant

// hold is get for a time; when nothing comes within it, that is the answer. While the client tries its WebSocket packets are
// answered with as ever, for the WebSocket may lead nowhere.
func (s *Server) hold(ctx context.Context, session *Session, conn *transport.Polling, most time.Duration, nothing PollResponse) PollResponse {
	held, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	body, err := conn.Poll(held)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nothing
	}
	return s.polled(session, conn, body, err)
}

// post takes the packets of a body in.
func (s *Server) post(ctx context.Context, session *Session, conn *transport.Polling, r PollRequest) PollResponse {
	if strings.HasPrefix(r.ContentType, "application/octet-stream") {
		return Refusal(engineio.ErrBadRequest)
	}
	if len(r.Body) > session.maxPayload() { // another gateway has read it, and does not know whether the client has been let in
		return PollResponse{Status: http.StatusRequestEntityTooLarge}
	}
	if !session.receiving.TryLock() {
		if session.upgrading.Load() == nil && !session.upgraded() { // two POSTs at once have no order
			session.Close(transport.CodeProtocol, transport.ReasonProtocol)
		}
		return Refusal(engineio.ErrBadRequest)
	}
	defer func() {
		session.receiving.Unlock()
		if session.upgrading.Load() != nil {
			session.goOver()
		}
	}()
	if session.upgraded() { // since the look at its transport
		return Refusal(engineio.ErrBadRequest)
	}
	defer session.BatchEnd()
	for packet, err := range engineio.DecodePayload(r.Body, session.maxPayload()) {
		if session.ending.Load() {
			break
		}
		if err == nil {
			err = session.packet(packet)
		}
		if err != nil {
			session.fail(packet, err)
			return Refusal(engineio.ErrBadRequest)
		}
		if session.heldBack.Load() > 0 {
			session.BatchEnd() // what waits may be what is waited for
		}
		if err := conn.AwaitResumed(ctx); err != nil {
			session.Close(transport.CodeNormal, transport.ReasonLost)
			return Refusal(engineio.ErrBadRequest)
		}
	}
	return taken
}

// taken answers a POST.
var taken = PollResponse{Status: http.StatusOK, ContentType: typeHTML, Body: []byte("ok")} //nolint:gochecknoglobals // a constant

// closedSession keeps the final packets to a polling client.
type closedSession struct {
	conn  *transport.Polling // what is queued there
	until time.Time
}

// retain notes what a polling client gets with its next GET, if anything.
func (s *Server) retain(session *Session, conn *transport.Polling) {
	if !conn.Pending() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended[session.sid] = closedSession{conn: conn, until: time.Now().Add(closedFor)} // bounded: each is a session that ended within closedFor
}

// finalPackets answers the GET that comes after a session's end, once for each body. Until then a POST is taken as one is that comes
// while the session ends: it is too late for what it says, and a client that is refused goes without its final packets.
func (s *Server) finalPackets(r PollRequest) (PollResponse, bool) {
	id, ok := s.sids.parse(r.Query.SID)
	if !ok {
		return PollResponse{}, false
	}
	s.mu.Lock()
	t, ok := s.ended[id]
	if ok && !t.conn.Pending() {
		delete(s.ended, id)
		ok = false
	}
	s.mu.Unlock()
	switch {
	case !ok:
		return PollResponse{}, false
	case r.Method == http.MethodPost:
		return taken, true
	case r.Method != http.MethodGet:
		return PollResponse{}, false
	}
	body, err := t.conn.Poll(context.Background()) //nolint:forbidigo // does not wait: the conn is closed
	if err != nil {
		return PollResponse{}, false
	}
	return PollResponse{Status: http.StatusOK, ContentType: typeText, Body: body}, true
}

// Owing tells whether a client on long polling has yet to come for the final packets of a session that has ended.
func (s *Server) Owing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.ended {
		if t.conn.Pending() {
			return true
		}
	}
	return false
}

// sweepClosed forgets final packets that nobody asked for.
func (s *Server) sweepClosed(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.ended {
		if now.After(t.until) {
			delete(s.ended, id)
		}
	}
}
