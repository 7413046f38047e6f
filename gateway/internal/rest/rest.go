package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	"github.com/starling-chat/starling/proto/limits"
)

// Config are the settings of the REST interface.
type Config struct {
	Services []Service
	// Documents are served below /api/, by their names.
	Documents []Document
	// WhoAsks makes the metadata that tells a service who asks; it refuses credentials that are wrong. open calls need none.
	WhoAsks func(ctx context.Context, r *http.Request, open bool) (metadata.MD, error)
	// Acted is told of every call that was made, and with what error it ended; nil is not.
	Acted func(ctx context.Context, r *http.Request, template string, md metadata.MD, err error)
	// MaxRequests are served at once; beyond, they are refused.
	MaxRequests int
	// Timeout of a call, from when the request is there.
	Timeout time.Duration
	Log     *slog.Logger
}

const (
	// MaxBody is the largest body, in bytes.
	MaxBody    = 256 << 10
	retryAfter = time.Second
)

// Handler serves the REST interface.
type Handler struct {
	cfg    Config
	routes []*route
	slots  chan struct{}
}

// Document is a file that describes the interfaces.
type Document struct {
	Name, Type string // such as openapi.json and application/json
	Content    []byte
}

// New makes the handler.
func New(cfg Config) (*Handler, error) {
	routes, err := routesOf(cfg.Services)
	if err != nil {
		return nil, err
	}
	for i := range cfg.Documents {
		d := &cfg.Documents[i]
		routes = append(routes, &route{method: http.MethodGet, path: []segment{{word: "api"}, {word: d.Name}}, document: d})
	}
	return &Handler{cfg: cfg, routes: routes, slots: make(chan struct{}, cfg.MaxRequests)}, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	found, values, allowed, err := find(h.routes, r)
	switch {
	case err != nil:
		h.refuse(w, r, err)
		return
	case len(allowed) > 0:
		header.Set("Allow", strings.Join(allowed, ", "))
		WriteFault(w, http.StatusMethodNotAllowed, fault.Newf(fault.Invalid, "The method must be %s", strings.Join(allowed, " or ")))
		return
	case found == nil:
		WriteFault(w, http.StatusNotFound, fault.New(fault.NotFound, "There is no such path"))
		return
	}
	if found.document != nil {
		header.Set("Content-Type", found.document.Type)
		_, _ = w.Write(found.document.Content) // the client is gone otherwise
		return
	}
	in, err := found.read(w, r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	found.setPath(in, values)
	select { // not before: who sends slowly holds no slot
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		WriteFault(w, http.StatusServiceUnavailable, fault.Retry(fault.Unavailable, "Too many requests at once", retryAfter))
		return
	}
	answer, err := h.call(r, found, in)
	if err == nil {
		err = writeAnswer(w, answer)
	}
	if err != nil {
		h.refuse(w, r, err)
	}
}

func (h *Handler) call(r *http.Request, to *route, in proto.Message) (proto.Message, error) {
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Timeout)
	defer cancel()
	template := to.template()
	md, err := h.cfg.WhoAsks(ctx, r, isOpen(template))
	if err != nil {
		return nil, err
	}
	if err := setKey(md, to, r.Header.Values("Idempotency-Key")); err != nil {
		return nil, err
	}
	answer, err := to.call(ctx, md, in)
	err = fault.FromStatus(err)
	if h.cfg.Acted != nil {
		h.cfg.Acted(ctx, r, template, md, err)
	}
	return answer, err
}

// setKey adds the key by which a call that changes something is known when it comes again. A service that takes none ignores it.
func setKey(md metadata.MD, to *route, keys []string) error {
	if len(keys) == 0 || to.method == http.MethodGet {
		return nil
	}
	ascii := !strings.ContainsFunc(keys[0], func(c rune) bool { return c > unicode.MaxASCII })
	if len(keys) > 1 || !ascii || !limits.ValidIdempotencyKey(keys[0]) {
		return fault.Newf(fault.Invalid, "Idempotency-Key must be 1 to %d printable ASCII characters, once", limits.IdempotencyKeyChars)
	}
	caller.SetIdempotencyKey(md, keys[0])
	return nil
}

// isOpen tells of a call that needs no credentials: it is how somebody gets them, or gives them back.
func isOpen(template string) bool {
	switch template {
	case "/api/v1/auth/register", "/api/v1/auth/guest", "/api/v1/auth/login", "/api/v1/auth/refresh", "/api/v1/auth/logout", "/.well-known/jwks.json":
		return true
	}
	return false
}

// read reads the request's message from the query or the body.
func (r *route) read(w http.ResponseWriter, request *http.Request) (proto.Message, error) {
	in := r.in.New().Interface()
	if !r.body {
		return in, readQuery(in.ProtoReflect(), request.URL.RawQuery)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fault.Newf(fault.TooLarge, "The body must not exceed %d bytes", MaxBody)
	case err != nil:
		return nil, fault.New(fault.Invalid, "The body did not arrive whole")
	case len(body) == 0:
		return in, nil
	}
	if err := readBody(in.ProtoReflect(), body); err != nil {
		return nil, err
	}
	if emit, ok := in.(*clusterv1.EmitRequest); ok {
		completeEmit(emit, body)
	}
	return in, nil
}

// completeEmit says what a body says without words. An emit without any target goes to everyone, as io.emit does; in protobuf an
// empty list of targets would look the same, so it is told apart here. Acks come back as the clients wrote them.
func completeEmit(emit *clusterv1.EmitRequest, body []byte) {
	emit.All = emit.GetAll() || toEveryone(body)
	if emit.Ack != nil {
		emit.Ack.ArgsJson = true
	}
}

// toEveryone tells whether a body has nothing but an event. A field that is not known may be a target misspelt.
func toEveryone(raw []byte) bool {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return false
	}
	for name := range fields {
		switch name {
		case "event", "args", "data", "attachments", "namespace", "except", "volatile", "ack":
		default:
			return false
		}
	}
	return true
}

// refuse answers with what went wrong; a mistake of ours is logged under the id that the client gets.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.Log(r.Context(), h.cfg.Log, err, slog.String("method", r.Method), slog.String("path", r.URL.Path))
	if f.Kind == fault.TooLarge {
		w.Header().Set("Connection", "close")
	}
	WriteFault(w, f.Kind.HTTPStatus(), f)
}
