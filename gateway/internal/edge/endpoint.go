package edge

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/obs"
)

// Peers are the other gateways: a request may come to any gateway, whichever has its session.
type Peers interface {
	// Poll has another gateway answer a polling request. A ctx that ends tells it that the client is gone.
	Poll(ctx context.Context, gateway string, r session.PollRequest) (session.PollResponse, error)
	// OpenTunnel asks another gateway to take a WebSocket for one of its sessions. refusal is its answer when it does not.
	OpenTunnel(ctx context.Context, gateway, sid string) (bind func(transport.Conn) transport.Receiver, refusal *engineio.RequestError, err error)
	// Arriving tells another gateway that the body of a POST for one of its sessions is coming in here, until done is called.
	Arriving(gateway, sid string) (done func())
	// Carried tells how many WebSockets this gateway carries for others.
	Carried() int
}

// Deps are what an endpoint stands on.
type Deps struct {
	SIDs     *session.SIDs
	Sessions *session.Server
	Sockets  *transport.Server
	Peers    Peers // nil: this gateway is alone
	// Strangers make room where the gateway is full; nil: nobody does.
	Strangers *transport.Strangers
	Stats     *stats.Stats
	Log       *slog.Logger
}

// EndpointConfig are the settings of one Engine.IO path.
type EndpointConfig struct {
	Origins        Origins
	MaxPayload     int
	MaxConnections int // sessions, and WebSockets carried for other gateways; 0 = no bound
	// Admit has a say about each new session, after all other checks; nil lets all in. wait is sent as Retry-After.
	Admit func(r *http.Request) (wait time.Duration, ok bool)
	// Judged tells whether the CONNECT of a new session could be judged soon; nil: always.
	Judged func() (wait time.Duration, ok bool)
	// RemoteIP tells the client's address.
	RemoteIP func(r *http.Request) string
	// Headers may add headers to every answer, and refuse a handshake; nil does neither.
	Headers func(h http.Header, r *http.Request, handshake bool) *engineio.RequestError
}

// Endpoint is an Engine.IO path: WebSocket, long polling, upgrade from one to the other, through any gateway.
type Endpoint struct {
	deps Deps
	cfg  EndpointConfig

	bodies    bodies        // of POSTs
	overloads *obs.Samplers // of the log of what is not admitted
	stopping  atomic.Bool   // GETs that wait are answered, so that their clients ask elsewhere
}

// pollHold is how long a GET waits before it is looked at again, whether its answer was lost or this gateway is going away.
const pollHold = 2 * time.Second

// NewEndpoint makes an endpoint.
func NewEndpoint(cfg EndpointConfig, deps Deps) *Endpoint {
	return &Endpoint{
		deps: deps, cfg: cfg, bodies: bodies{most: maxBodyBytes}, overloads: obs.NewSamplers(time.Second),
	}
}

// ServeHTTP implements http.Handler. CORS headers are the caller's (Origins.CORS).
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, ok := w.(*exchange); !ok {
		exchanges(e).ServeHTTP(w, r)
		return
	}
	upgrade := isUpgrade(r)
	query := engineio.ParseQuery(r.URL.RawQuery)
	if e.cfg.Headers != nil {
		if refusal := e.cfg.Headers(w.Header(), r, query.SID == ""); refusal != nil {
			e.refuse(w, refusal, upgrade)
			return
		}
	}
	known, owner := "", ""
	if query.SID != "" {
		if gateway, ok := e.deps.SIDs.Owner(query.SID); ok && gateway != e.deps.SIDs.Gateway() && e.deps.Peers != nil {
			known, owner = engineio.TransportPolling, gateway // the owner knows better, and checks again
		} else {
			known = e.deps.Sessions.Transport(query.SID)
		}
	}
	local := owner == "" && query.SID != "" && !upgrade && query.Transport == engineio.TransportPolling && r.Method == http.MethodGet
	var refusal *engineio.RequestError
	if local { // the session's own gateway checks the rest of a GET, final packets included
		refusal = e.allow(r)
	} else {
		refusal = engineio.CheckRequest(engineio.Request{
			Method: r.Method, Query: query, Origin: r.Header.Get("Origin"), Upgrade: upgrade, SessionTransport: known,
			Allow: func() *engineio.RequestError { return e.allow(r) },
		})
	}
	if refusal != nil {
		e.deps.Sessions.Suspect(session.RefusalCause(query, refusal), e.remoteIP(r))
		e.refuse(w, refusal, upgrade)
		return
	}
	key := ""
	if upgrade { // judged before anything is taken for it: a slot, the session's tunnel, the connection
		var refusal *engineio.RequestError
		if key, refusal = checkWebSocket(r); refusal != nil {
			w.Header().Set("Sec-WebSocket-Version", webSocketVersion)
			e.refuse(w, refusal, true)
			return
		}
	}
	switch {
	case query.SID == "":
		e.handshake(w, r, upgrade, key)
	case upgrade:
		e.upgrade(w, r, key, query.SID, owner)
	default:
		e.poll(w, r, query, owner)
	}
}

// allow refuses the pages of other origins.
func (e *Endpoint) allow(r *http.Request) *engineio.RequestError {
	if !e.cfg.Origins.Allow(r) {
		return engineio.Forbidden("Origin not allowed")
	}
	return nil
}

// handshake opens a session, if there is room for it.
func (e *Endpoint) handshake(w http.ResponseWriter, r *http.Request, upgrade bool, key string) {
	wait, cause, message := e.admit(r)
	if cause != "" {
		if upgrade {
			w.Header().Set("Connection", "close")
		}
		e.overload(w, r, cause, wait, message)
		return
	}
	headers := session.Headers{
		Authorization: r.Header.Get("Authorization"), RemoteIP: e.remoteIP(r), FixedArguments: hasFixedArguments(r),
	}
	if !upgrade {
		opened := e.deps.Sessions.OpenPolling(e.deps.Sockets, headers)
		e.keepRoom()
		answer(w, opened)
		return
	}
	e.accept(w, r, key, func(c transport.Conn) transport.Receiver {
		defer e.keepRoom()
		return e.deps.Sessions.Open(c, headers)
	})
}

// admit tells why a client may open no session now, and when it may come back; without a cause it may.
func (e *Endpoint) admit(r *http.Request) (wait time.Duration, cause, message string) {
	const tooMany = "Too many connections"
	if e.cfg.Admit != nil {
		if wait, ok := e.cfg.Admit(r); !ok {
			return wait, causeRate, tooMany
		}
	}
	if e.cfg.Judged != nil {
		if wait, ok := e.cfg.Judged(); !ok {
			return wait, causeAuth, "Nobody can be let in at the moment"
		}
	}
	if !e.room() {
		return 0, causeConnections, tooMany
	}
	return 0, "", ""
}

// held counts what MAX_CONNECTIONS bounds.
func (d *Deps) held() int {
	if d.Peers == nil {
		return d.Sessions.Count()
	}
	return d.Sessions.Count() + d.Peers.Carried()
}

// room tells whether one more fits in. Where the gateway is full, a client that has still to show who it is makes room.
func (e *Endpoint) room() bool {
	return e.cfg.MaxConnections == 0 || e.deps.held() < e.cfg.MaxConnections || e.deps.Strangers.Displace()
}

// keepRoom corrects what room could not know: handshakes that were under way at the same time.
func (e *Endpoint) keepRoom() {
	if e.cfg.MaxConnections > 0 && e.deps.held() > e.cfg.MaxConnections {
		e.deps.Strangers.Displace()
	}
}

// poll answers a polling request of a session, here or by its gateway. A body is read only for a session that there is.
func (e *Endpoint) poll(w http.ResponseWriter, r *http.Request, query engineio.Query, owner string) {
	request := session.PollRequest{Method: r.Method, Query: query, ContentType: r.Header.Get("Content-Type")}
	if r.ContentLength != 0 && (owner != "" || e.deps.Sessions.Transport(query.SID) != "") {
		most := e.cfg.MaxPayload
		var arrived func()
		if owner == "" {
			most, arrived = min(most, e.deps.Sessions.MaxBody(query.SID)), e.deps.Sessions.Arriving(query.SID)
		} else {
			arrived = e.deps.Peers.Arriving(owner, query.SID)
		}
		body, ended, release, err := e.bodies.read(r.Body, r.ContentLength, most)
		arrived()
		defer release()
		switch {
		case errors.Is(err, errBodies):
			e.overload(w, r, causeBodies, retryAfter, "Too many large requests at once")
			return
		case tooSlow(err):
			http.Error(w, "The body did not come in time", http.StatusRequestTimeout)
			return
		case err != nil:
			e.refuse(w, engineio.ErrBadRequest, false)
			return
		case !ended:
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		if r.Method == http.MethodPost { // of a GET it means nothing
			request.Body = body
		}
	}
	clear(r.Header) // up to maxHeader for each GET that waits; nobody reads it any more
	response, err := e.ask(r.Context(), owner, request)
	if err != nil {
		e.refuse(w, engineio.ErrUnknownSession, false)
		return
	}
	answer(w, response)
}

// overload tells the client to come back.
func (e *Endpoint) overload(w http.ResponseWriter, r *http.Request, cause string, wait time.Duration, message string) {
	e.deps.Stats.Handshakes.WithLabelValues("overload").Inc()
	e.notAdmitted(r, cause)
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	http.Error(w, message, http.StatusServiceUnavailable)
}

// ask has a polling request answered, here or through the session's gateway. A GET waits as long as it takes, in turns of pollHold.
func (e *Endpoint) ask(ctx context.Context, owner string, request session.PollRequest) (response session.PollResponse, err error) {
	if request.Method == http.MethodGet {
		request.Hold = pollHold
	}
	for {
		if owner == "" {
			response = e.deps.Sessions.Poll(ctx, request)
		} else {
			response, err = e.deps.Peers.Poll(ctx, owner, request)
		}
		switch {
		case err != nil || response.Status != http.StatusNoContent:
			return response, err
		case e.stopping.Load():
			return session.Noop, nil
		}
	}
}

func answer(w http.ResponseWriter, p session.PollResponse) {
	h := w.Header()
	h.Set("Content-Type", p.ContentType)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.Body) // the client is gone otherwise
}

// refuse answers with Engine.IO's error: JSON, or plain text and always 400 for a rejected upgrade.
func (e *Endpoint) refuse(w http.ResponseWriter, refusal *engineio.RequestError, upgrade bool) {
	e.deps.Stats.Handshakes.WithLabelValues("refused").Inc()
	if upgrade {
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(refusal.Message)) //nolint:gosec // a text of ours, never of the request; the client is gone otherwise
		return
	}
	answer(w, session.Refusal(refusal))
}
