package rpc

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// chatService tells whom it takes the caller for.
type chatService struct {
	chatv1.UnimplementedChatServiceServer

	user string // whom the last call named
}

func (c *chatService) note(ctx context.Context) {
	identity, err := caller.Identity(ctx)
	c.user = identity.GetUserId()
	if err != nil {
		c.user = ""
	}
}

func (c *chatService) JoinRoom(ctx context.Context, _ *chatv1.JoinRoomRequest) (*chatv1.JoinRoomResponse, error) {
	c.note(ctx)
	return &chatv1.JoinRoomResponse{}, nil
}

func (c *chatService) ListMembers(ctx context.Context, _ *chatv1.ListMembersRequest) (*chatv1.ListMembersResponse, error) {
	c.note(ctx)
	return &chatv1.ListMembersResponse{}, nil
}

func (c *chatService) ListRooms(ctx context.Context, _ *chatv1.ListRoomsRequest) (*chatv1.ListRoomsResponse, error) {
	c.note(ctx)
	return &chatv1.ListRoomsResponse{}, nil
}

func (c *chatService) PostMessage(ctx context.Context, _ *chatv1.PostMessageRequest) (*chatv1.PostMessageResponse, error) {
	c.note(ctx)
	return &chatv1.PostMessageResponse{}, nil
}

const (
	gatewayToken, gatewayNext = "token of the gateway", "next token of the gateway"
	presenceToken             = "token of presence-service"
	backendToken              = "token of another backend"
	callersOfChat             = "gateway=" + gatewayToken + ", gateway=" + gatewayNext + ",presence-service=" + presenceToken + ",,orders=" + backendToken
)

// TestCallers: each caller may call what is its own only, in the name of users only where that is its work; everything else is
// refused as PermissionDenied, counted, and told of in the log.
func TestCallers(t *testing.T) {
	var log faulttest.Log
	registry := prometheus.NewRegistry()
	s := Settings{Listen: "127.0.0.1:0", Token: "shown to others only", Callers: callersOfChat}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	listener, client := inProcess()
	s.Listener = listener
	server := NewServer(s.Server(registry, log.Logger()))
	service := &chatService{}
	chatv1.RegisterChatServiceServer(server.GRPC(), service)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})

	md, err := caller.Metadata(&eventv1.Identity{UserId: "ann"}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	user := metadata.NewOutgoingContext(t.Context(), md)
	for _, tc := range []struct {
		token  settings.Secret
		method string
		code   codes.Code
		user   string // whom the service takes for the one who asks
	}{
		{gatewayToken, "JoinRoom", codes.OK, "ann"},
		{gatewayNext, "JoinRoom", codes.OK, "ann"},
		{gatewayToken, "PostMessage", codes.OK, "ann"},
		{presenceToken, "ListMembers", codes.OK, ""},
		{presenceToken, "JoinRoom", codes.PermissionDenied, ""},
		{presenceToken, "PostMessage", codes.PermissionDenied, ""},
		{backendToken, "PostMessage", codes.OK, ""},
		{backendToken, "ListRooms", codes.OK, ""},
		{backendToken, "JoinRoom", codes.PermissionDenied, ""},
		{backendToken, "ListMembers", codes.PermissionDenied, ""},
		{"shown to others only", "ListMembers", codes.Unauthenticated, ""},
		{"token of nobody's here", "ListMembers", codes.Unauthenticated, ""},
		{"", "ListMembers", codes.Unauthenticated, ""},
	} {
		service.user = ""
		client := client // a copy
		client.Token = tc.token
		err := dial(t, "test", client).Invoke(user, "/starling.chat.v1.ChatService/"+tc.method, &chatv1.ListMembersRequest{}, &chatv1.ListMembersResponse{})
		if got := status.Code(err); got != tc.code || service.user != tc.user {
			t.Errorf("%s with the %s = %v, taken for %q, want %v, %q", tc.method, tc.token.Reveal(), err, service.user, tc.code, tc.user)
		}
		// The client that a refused service asks for is not told that its own token is bad: it would log its user out.
		if err != nil && fault.KindOf(fault.FromStatus(err)) != fault.Unavailable {
			t.Errorf("%s with the %s: its client is told %v, want it unavailable", tc.method, tc.token.Reveal(), fault.FromStatus(err))
		}
	}
	if _, err := healthpb.NewHealthClient(dial(t, "test", client)).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health without a token = %v, want nil", err)
	}
	for name, want := range map[string]float64{"presence-service method": 2, "orders method": 2, "unknown token": 3} {
		who, cause, _ := strings.Cut(name, " ")
		if got := testutil.ToFloat64(server.access.refused.WithLabelValues(who, cause)); got != want {
			t.Errorf("refusals of %s = %v, want %v", name, got, want)
		}
	}
	for _, want := range []string{"security event", "service_call", "presence-service", "/starling.chat.v1.ChatService/JoinRoom"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log = %s, want %q in it", log.String(), want)
		}
	}
	for _, token := range []string{gatewayToken, gatewayNext, presenceToken, backendToken, "nobody's"} {
		if strings.Contains(log.String(), token) {
			t.Errorf("log = %s, has a token in it", log.String())
		}
	}
	// One record a second of a kind.
	before := strings.Count(log.String(), "service_call")
	flood := dial(t, "test", client)
	for range 200 {
		_ = invoke(t, flood)
	}
	if n := strings.Count(log.String(), "service_call") - before; n > 100 {
		t.Errorf("200 refusals made %d records, want them sampled", n)
	}
}

// TestCallersOfStreams: streams are let in by the same table, with the same context.
func TestCallersOfStreams(t *testing.T) {
	a := newAuthorizer(ServerConfig{Callers: []Caller{{"orders", backendToken}}, Log: slog.New(slog.DiscardHandler)})
	s := &Server{access: a, slots: make(chan struct{}, 1)}
	s.cfg.Log = slog.New(slog.DiscardHandler)
	md, err := caller.Metadata(&eventv1.Identity{UserId: "ann"}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	md.Set(tokenKey, backendToken)
	stream := &authorizedStream{ctx: metadata.NewIncomingContext(t.Context(), md)}
	for method, want := range map[string]codes.Code{"/starling.chat.v1.ChatService/JoinRoom": codes.PermissionDenied, "/example.Orders/Watch": codes.OK} {
		err := s.stream(nil, stream, &grpc.StreamServerInfo{FullMethod: method}, func(_ any, stream grpc.ServerStream) error {
			if _, err := caller.Identity(stream.Context()); err == nil {
				t.Errorf("%s: asks in the name of a user", method)
			}
			return nil
		})
		if status.Code(err) != want {
			t.Errorf("%s = %v, want %v", method, err, want)
		}
	}
}

// TestTokens: lists that cannot be meant are refused in one line without any of their tokens, and so are tokens that can be guessed.
func TestTokens(t *testing.T) {
	for list, want := range map[settings.Secret]string{
		"":                             "",
		callersOfChat:                  "",
		"gateway=c2VjcmV0c2VjcmV0cw==": "",
		"c2VjcmV0c2VjcmV0cw":           "entry 1",
		"gateway=" + gatewayToken + ",presence-service=" + gatewayToken: "entry 2",
		"gateway=short": "less than 16 bytes",
		"gateway=":      "less than 16 bytes",
		"gateway=" + gatewayToken + ",presence-service=$(PRESENCE_SERVICE_TOKEN)": "entry 2",
		"Gate way=" + gatewayToken: "entry 1",
		"=" + gatewayToken:         "entry 1",
		" , ":                      "no entry",
	} {
		err := (&Settings{Callers: list}).Validate()
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "SERVICE_TOKENS: ")) {
			t.Errorf("SERVICE_TOKENS=%s: %v, want %q", list.Reveal(), err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "c2Vj") || strings.Contains(err.Error(), gatewayToken) || strings.Contains(err.Error(), "short")) {
			t.Errorf("SERVICE_TOKENS=%s: %v shows a token", list.Reveal(), err)
		}
	}
	for listen, want := range map[string]bool{":7001": false, "0.0.0.0:7001": false, "127.0.0.1:7001": true, "[::1]:7001": true, "": true} {
		if err := (&Settings{Listen: listen, Token: "short"}).Validate(); (err == nil) != want {
			t.Errorf("a short SERVICE_TOKEN on %q: %v, want it taken: %v", listen, err, want)
		}
	}
	// A list that Validate has not seen lets nobody in.
	if err := NewServer((&Settings{Listen: "127.0.0.1:0", Callers: "gateway"}).Server(nil, slog.New(slog.DiscardHandler))).Listen(t.Context()); err == nil {
		t.Error("Listen with a list that cannot be read = nil, want an error")
	}
}

// TestSharedTokenWarns: one token for all, on a port that others reach, is told of at the start.
func TestSharedTokenWarns(t *testing.T) {
	for _, tc := range []struct {
		s    Settings
		want bool
	}{
		{Settings{Listen: ":7001", Token: gatewayToken}, true},
		{Settings{Listen: ":7001"}, true},
		{Settings{Listen: "127.0.0.1:7001", Token: gatewayToken}, false},
		{Settings{Listen: ":7001", Token: gatewayToken, Callers: callersOfChat}, false},
		{Settings{Listen: "", Token: gatewayToken}, false},
	} {
		var log faulttest.Log
		tc.s.Server(nil, log.Logger())
		if got := strings.Contains(log.String(), "SERVICE_TOKEN"); got != tc.want {
			t.Errorf("%+v: log = %q, want a warning: %v", tc.s, log.String(), tc.want)
		}
	}
}
