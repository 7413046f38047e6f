package chatservice_test

import (
	"log/slog"
	"testing"
	"time"

	chatservice "github.com/starling-chat/starling/chat-service"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/pg/pgtest"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
)

// TestFailover: the primary changes while all connections to the former one stay alive and answer reads. Messages are written to
// the new one soon, and reads do not come from the past.
func TestFailover(t *testing.T) {
	servers := pgtest.NewPair(t)
	server := bustest.Server(t)
	s := &system{t: t, nats: server, db: servers.Config("chat"), nc: bustest.Connect(t, server)}
	client, _ := s.start()
	s.grpc = append(s.grpc, client)
	s.waitServing()
	s.join("ann", "r")

	servers.FailOver(t)
	if err := pg.Migrate(t.Context(), s.db, chatservice.Migrations(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	var last error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, last = client.JoinRoom(t.Context(), &chatv1.JoinRoomRequest{Event: event("ann", "/", "room:join", quote("new"))}); last == nil {
			break
		}
	}
	if n := servers.Ask(t, "SELECT coalesce(string_agg(room_id, ' '), '') FROM chat.rooms"); last != nil || n != "new" {
		t.Errorf("JoinRoom after the failover = %v; the new primary has the rooms %q, want the new one", last, n)
	}
}
