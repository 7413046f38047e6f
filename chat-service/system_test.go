package chatservice_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	chatservice "github.com/starling-chat/starling/chat-service"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/bus/embedded"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	"github.com/starling-chat/starling/platform/settings"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// system is one NATS server, one database and replicas of the service.
type system struct {
	t    *testing.T
	nats *embedded.Server
	db   pg.Config
	nc   *nats.Conn // the test's own: it plays the gateway
	grpc []chatv1.ChatServiceClient
}

func newSystem(t *testing.T, replicas int) *system {
	t.Helper()
	server := bustest.Server(t)
	s := &system{t: t, nats: server, db: pgtest.New(t, chatservice.Migrations(), "chat"), nc: bustest.Connect(t, server)}
	for range replicas {
		client, _ := s.start()
		s.grpc = append(s.grpc, client)
	}
	s.waitServing()
	return s
}

// start runs another replica; stop ends it and is called at the end of the test in any case.
func (s *system) start() (chatv1.ChatServiceClient, func()) {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	var cfg chatservice.Config
	if err := settings.Parse("chat-service", "", &cfg, []string{"--no-assert-durable", "--admin-listen=", "--stall-limit=1h"}); err != nil {
		s.t.Fatal(err)
	}
	cfg.Database.URL, cfg.Database.Schema, cfg.NATS.URL, cfg.RPC.Listener = s.db.URL, s.db.Schema, settings.URL(s.nats.URL()), listener
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := slog.New(slog.NewTextHandler(testWriter{s.t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	go func() { done <- chatservice.Run(ctx, cfg, log) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("Run = %v, want nil", err)
		}
	})
	s.t.Cleanup(stop)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return chatv1.NewChatServiceClient(conn), stop
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	return w.t.Output().Write(p)
}

func (s *system) waitServing() {
	s.t.Helper()
	until := time.Now().Add(60 * time.Second)
	for time.Now().Before(until) {
		reply, err := s.emit("probe", "/", "room:list", `[]`)
		if err == nil && reply.GetFault() == nil {
			all := true
			for _, client := range s.grpc {
				_, err := client.GetHeads(s.t.Context(), &chatv1.GetHeadsRequest{RoomIds: []string{"x"}})
				all = all && err == nil
			}
			if all {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatal("the service does not serve")
}

func event(user, namespace, name, args string) *eventv1.ClientEvent {
	role := "user"
	if user == "admin" {
		role = "admin"
	}
	return &eventv1.ClientEvent{
		SocketId: "socket-" + user, GatewayId: "g", Namespace: namespace, Event: name, Args: []byte(args),
		Identity:   &eventv1.Identity{UserId: user, Name: strings.ToUpper(user), Role: role},
		ReceivedAt: timestamppb.Now(),
	}
}

func (s *system) emit(user, namespace, name, args string) (*eventv1.ClientReply, error) {
	return s.request(event(user, namespace, name, args))
}

func (s *system) request(e *eventv1.ClientEvent) (*eventv1.ClientReply, error) {
	to, err := subject.ClientEvent(e.GetNamespace(), e.GetEvent())
	if err != nil {
		return nil, err
	}
	raw, err := proto.Marshal(e)
	if err != nil {
		return nil, err
	}
	msg, err := s.nc.Request(to, raw, 30*time.Second)
	if err != nil {
		return nil, err
	}
	reply := &eventv1.ClientReply{}
	return reply, proto.Unmarshal(msg.Data, reply)
}

// ack emits and gives the ack's argument; a fault is its code and message.
func (s *system) ack(user, namespace, name, args string) map[string]any {
	s.t.Helper()
	reply, err := s.emit(user, namespace, name, args)
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	if f := reply.GetFault(); f != nil {
		return map[string]any{"ok": false, "code": f.GetCode(), "message": f.GetMessage()}
	}
	return first(s.t, reply.GetAckArgs())
}

func first(t *testing.T, args []byte) map[string]any {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal(args, &list); err != nil || len(list) != 1 {
		t.Fatalf("arguments %s: %v", args, err)
	}
	return list[0]
}

func (s *system) join(user, room string) *chatv1.JoinRoomResponse {
	s.t.Helper()
	answer, err := s.grpc[0].JoinRoom(s.t.Context(), &chatv1.JoinRoomRequest{Event: event(user, "/", "room:join", quote(room))})
	if err != nil {
		s.t.Fatalf("JoinRoom(%s, %s): %v", user, room, err)
	}
	return answer
}

func quote(s string) string {
	raw, _ := json.Marshal([]string{s})
	return string(raw)
}

// listen collects the events of a subject.
func (s *system) listen(to string) *nats.Subscription {
	s.t.Helper()
	sub, err := s.nc.SubscribeSync(to)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.nc.Flush(); err != nil {
		s.t.Fatal(err)
	}
	return sub
}

func nextEvent(t *testing.T, sub *nats.Subscription) (*eventv1.RoomEvent, *nats.Msg) {
	t.Helper()
	msg, err := sub.NextMsg(30 * time.Second)
	if err != nil {
		t.Fatalf("next event on %s: %v", sub.Subject, err)
	}
	batch := &eventv1.RoomEventBatch{}
	if err := proto.Unmarshal(msg.Data, batch); err != nil || len(batch.GetEvents()) != 1 {
		t.Fatalf("events on %s = %v, %v, want one", sub.Subject, batch, err)
	}
	return batch.GetEvents()[0], msg
}

func noEvent(t *testing.T, sub *nats.Subscription) {
	t.Helper()
	if msg, err := sub.NextMsg(150 * time.Millisecond); err == nil {
		t.Errorf("event on %s = %q, want none", sub.Subject, msg.Data)
	}
}

// enter makes the user a member and gives the room's later events.
func (s *system) enter(user, room string) *nats.Subscription {
	s.t.Helper()
	live := s.listen(subject.Room(room))
	s.join(user, room)
	nextEvent(s.t, live)
	return live
}
