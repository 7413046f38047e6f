package edge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/metadata"

	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
)

const (
	restTimeout = 10 * time.Second
	maxRESTBody = 256 << 10
)

type callerKey struct{}

// rest makes the handler of the REST interface: who asks is found out here, what is asked goes to the services by gRPC.
func (e *Edge) rest() (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.HTTPBodyMarshaler{Marshaler: newMarshaler()}),
		runtime.WithMetadata(func(ctx context.Context, _ *http.Request) metadata.MD {
			md, _ := ctx.Value(callerKey{}).(metadata.MD)
			return md
		}),
		runtime.WithErrorHandler(func(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
			e.restError(ctx, w, r, err)
		}),
		runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, status int) {
			writeFault(w, status, fault.New(routingFault(status), http.StatusText(status)))
		}),
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }), // nothing but what we vouch for
	)
	ctx := context.Background() //nolint:forbidigo // the handlers use the request's context; this one is not used by them
	err := errors.Join(
		authv1.RegisterAuthServiceHandlerClient(ctx, mux, authv1.NewAuthServiceClient(e.cfg.Auth)),
		chatv1.RegisterChatServiceHandlerClient(ctx, mux, chatv1.NewChatServiceClient(e.cfg.Chat)),
		presencev1.RegisterPresenceServiceHandlerClient(ctx, mux, presencev1.NewPresenceServiceClient(e.cfg.Presence)),
		clusterv1.RegisterClusterServiceHandlerServer(ctx, mux, e.cfg.Cluster),
	)
	return bounded(cmp.Or(e.cfg.MaxRequests, maxRequests), e.authenticated(mux)), err
}

func routingFault(status int) fault.Kind {
	if status == http.StatusNotFound || status == http.StatusMethodNotAllowed {
		return fault.NotFound
	}
	return fault.Invalid
}

// authenticated finds out who asks and bounds the request.
func (e *Edge) authenticated(next http.Handler) http.Handler {
	auth := authv1.NewAuthServiceClient(rpc.Hedged(e.cfg.Auth))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), restTimeout)
		defer cancel()
		md, err := e.whoAsks(ctx, auth, r)
		if err != nil {
			e.restError(ctx, w, r, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxRESTBody)
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, callerKey{}, md)))
	})
}

// whoAsks checks the API key or the access token; calls that need neither get through without.
func (e *Edge) whoAsks(ctx context.Context, auth authv1.AuthServiceClient, r *http.Request) (metadata.MD, error) {
	address := e.clientIP(r).String()
	if strings.HasPrefix(r.URL.Path, "/api/v1/auth/") || strings.HasPrefix(r.URL.Path, "/.well-known/") {
		return caller.Metadata(nil, nil, address)
	}
	if key := r.Header.Get("X-API-Key"); key != "" {
		res, err := auth.AuthenticateKey(ctx, &authv1.AuthenticateKeyRequest{Key: key})
		if err != nil {
			return nil, fault.FromStatus(err)
		}
		return caller.Metadata(nil, res.GetScopes(), address)
	}
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return caller.Metadata(nil, nil, address)
	}
	res, err := auth.Authenticate(ctx, &authv1.AuthenticateRequest{Token: strings.TrimSpace(token)})
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	return caller.Metadata(res.GetIdentity(), nil, address)
}

func (e *Edge) restError(ctx context.Context, w http.ResponseWriter, r *http.Request, err error) {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) || strings.Contains(err.Error(), "http: request body too large") {
		err = fault.Newf(fault.TooLarge, "The body must not exceed %d bytes", maxRESTBody)
	}
	f := fault.Log(ctx, e.log, fault.FromStatus(err), slog.String("method", r.Method), slog.String("path", r.URL.Path))
	writeFault(w, f.Kind.HTTPStatus(), f)
}

// writeFault writes { code, message }.
func writeFault(w http.ResponseWriter, status int, f *fault.Error) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(max(1, int(f.RetryAfter.Seconds()+0.999))))
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // the client is gone otherwise
		Code    fault.Kind `json:"code"`
		Message string     `json:"message"`
	}{f.Kind, f.Message})
}
