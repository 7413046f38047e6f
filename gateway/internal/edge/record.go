package edge

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
)

// Why a client is not admitted, as metrics and logs call it.
const (
	causeRate        = "handshake_rate"  // of its address
	causeConnections = "max_connections" // of the gateway
	causeBodies      = "bodies"          // that are under way
	causeAuth        = "auth_service"    // which is away, so that no CONNECT can be judged
)

// notAdmitted counts a client that is told to come back later, and logs it, at most once a second for each cause.
func (e *Endpoint) notAdmitted(r *http.Request, cause string) {
	e.deps.Stats.HTTPRefusals.WithLabelValues(cause).Inc()
	skipped, ok := e.overloads.Take(cause, time.Now())
	if !ok {
		return
	}
	e.deps.Log.LogAttrs(r.Context(), slog.LevelWarn, "security event",
		slog.String("event", "admission"), slog.String("result", "limited"), slog.String("cause", cause),
		slog.String("address", e.remoteIP(r)), slog.Int("skipped", skipped))
}

// maxLoggedPath bounds what another backend wrote in a record, in bytes.
const maxLoggedPath = 256

// acted logs what another backend did to the sockets of users. What it says to them is counted only (starling_gateway_cluster_calls_total
// and the services' starling_rpc_requests_total); whom it revokes auth-service logs.
func (e *Edge) acted(ctx context.Context, r *http.Request, template string, md metadata.MD, err error) {
	key, byKey := caller.KeyOf(md)
	onSockets := strings.HasPrefix(template, "/api/v1/sockets") || strings.HasSuffix(template, "/sockets")
	if !byKey || !onSockets || r.Method == http.MethodGet {
		return
	}
	result := "ok"
	level := slog.LevelInfo
	if err != nil {
		result, level = string(fault.KindOf(err)), slog.LevelWarn
	}
	path := r.URL.Path
	e.log.LogAttrs(ctx, level, "security event",
		slog.String("event", "sockets"), slog.String("result", result), slog.String("method", r.Method),
		slog.String("path", path[:min(len(path), maxLoggedPath)]), slog.String("api_key", key), slog.String("address", e.clientIP(r).String()))
}
