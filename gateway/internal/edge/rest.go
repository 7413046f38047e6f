package edge

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/metadata"

	"github.com/starling-chat/starling/gateway/internal/rest"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/proto"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/events"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
)

const restTimeout = 10 * time.Second

// rest makes the handler of the REST interface: who asks is found out here, what is asked goes to the services by gRPC.
func (e *Edge) rest() (http.Handler, error) {
	auth := authv1.NewAuthServiceClient(rpc.Hedged(e.cfg.Auth))
	return rest.New(rest.Config{
		Services: []rest.Service{
			{Desc: &authv1.AuthService_ServiceDesc, Conn: e.cfg.Auth},
			{Desc: &authv1.UserService_ServiceDesc, Conn: e.cfg.Auth},
			{Desc: &authv1.KeyService_ServiceDesc, Conn: e.cfg.Auth},
			{Desc: &chatv1.ChatService_ServiceDesc, Conn: e.cfg.Chat},
			{Desc: &chatv1.RoomService_ServiceDesc, Conn: e.cfg.Chat},
			{Desc: &chatv1.MessageService_ServiceDesc, Conn: e.cfg.Chat},
			{Desc: &presencev1.PresenceService_ServiceDesc, Conn: e.cfg.Presence},
			{Desc: &clusterv1.ClusterService_ServiceDesc, Server: e.cfg.Cluster},
		},
		Documents: []rest.Document{
			{Name: "openapi.json", Type: "application/json", Content: proto.OpenAPI},
			{Name: "asyncapi.json", Type: "application/json", Content: events.AsyncAPI},
			{Name: "starling.d.ts", Type: "text/plain; charset=utf-8", Content: events.TypeScript},
		},
		WhoAsks: func(ctx context.Context, r *http.Request, open bool) (metadata.MD, error) {
			if open {
				return caller.Metadata(nil, nil, e.clientIP(r).String())
			}
			return e.whoAsks(ctx, auth, r)
		},
		Acted:       e.acted,
		MaxRequests: cmp.Or(e.cfg.MaxRequests, maxRequests), Timeout: restTimeout, Log: e.log,
	})
}

// whoAsks checks the API key or the access token; who has neither is nobody.
func (e *Edge) whoAsks(ctx context.Context, auth authv1.AuthServiceClient, r *http.Request) (metadata.MD, error) {
	address := e.clientIP(r).String()
	asking, err := caller.Metadata(nil, nil, address) // auth-service logs who shows it bad keys and tokens
	if err != nil {
		return nil, err
	}
	ctx = metadata.NewOutgoingContext(ctx, asking)
	if key := r.Header.Get("X-API-Key"); key != "" {
		if !utf8.ValidString(key) { // protobuf would refuse to carry it
			return nil, fault.New(fault.Unauthenticated, "Unknown API key")
		}
		res, err := auth.AuthenticateKey(ctx, &authv1.AuthenticateKeyRequest{Key: key})
		if err != nil {
			return nil, fault.FromStatus(err)
		}
		return caller.KeyMetadata(res.GetName(), res.GetScopes(), address)
	}
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return asking, nil
	}
	if !utf8.ValidString(token) {
		return nil, fault.Refusal(fault.ReasonToken, nil)
	}
	res, err := auth.Authenticate(ctx, &authv1.AuthenticateRequest{Token: strings.TrimSpace(token)})
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	return caller.Metadata(res.GetIdentity(), nil, address)
}
