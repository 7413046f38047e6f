package edge

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/starling-chat/starling/proto/caller"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
)

// actingCluster does what it is asked.
type actingCluster struct {
	clusterv1.UnimplementedClusterServiceServer
}

func (actingCluster) DisconnectUserSockets(context.Context, *clusterv1.UserSocketsRequest) (*clusterv1.DisconnectSocketsResponse, error) {
	return &clusterv1.DisconnectSocketsResponse{}, nil
}

func (actingCluster) Emit(context.Context, *clusterv1.EmitRequest) (*clusterv1.EmitResponse, error) {
	return &clusterv1.EmitResponse{}, nil
}

// securityEvents gives the records of an event.
func securityEvents(t *testing.T, s *services, event string) (found []map[string]any) {
	t.Helper()
	for line := range strings.Lines(s.log.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("log line %s: %v", line, err)
		}
		if record["msg"] == "security event" && record["event"] == event {
			found = append(found, record)
		}
	}
	return found
}

// TestBackendsActsAreLogged: what another backend does to the sockets of users is logged with the name of its API key; what it says to
// them is not, and the key itself never.
func TestBackendsActsAreLogged(t *testing.T) {
	front, s := newEdge(t, func(c *Config) { c.Cluster = actingCluster{} })
	ask(t, http.MethodDelete, front.URL+"/api/v1/users/ann/sockets", "", "X-API-Key: key")
	ask(t, http.MethodPost, front.URL+"/api/v1/sockets/disconnect", `{"users":["ann"]}`, "X-API-Key: key")
	ask(t, http.MethodPost, front.URL+"/api/v1/emit", `{"event":"e"}`, "X-API-Key: key")
	ask(t, http.MethodDelete, front.URL+"/api/v1/users/ann/sockets", "", "Authorization: Bearer good")
	events := securityEvents(t, s, "sockets")
	if len(events) != 2 {
		t.Fatalf("records %v, want two", events)
	}
	if e := events[0]; e["result"] != "ok" || e["api_key"] != "backend" || e["method"] != "DELETE" || e["path"] != "/api/v1/users/ann/sockets" || e["address"] != "127.0.0.1" {
		t.Errorf("record %v, want ann's sockets ended by the key backend from 127.0.0.1", e)
	}
	if e := events[1]; e["result"] == "ok" || e["level"] != "WARN" || e["path"] != "/api/v1/sockets/disconnect" {
		t.Errorf("record %v, want a call that failed", e)
	}
	if strings.Contains(s.log.String(), `"key"`) {
		t.Error("the log has the API key")
	}
}

// TestServicesHearWhoAsks: a service hears the name of the backend's key, and auth-service from where a key or a token comes.
func TestServicesHearWhoAsks(t *testing.T) {
	front, s := newEdge(t, nil)
	ask(t, http.MethodGet, front.URL+"/api/v1/rooms/r/messages", "", "X-API-Key: key")
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if name := caller.KeyName(metadata.NewIncomingContext(t.Context(), last)); name != "backend" {
		t.Errorf("the service heard of the key %q, want backend", name)
	}
	for _, header := range []string{"X-API-Key: guess", "Authorization: Bearer guess"} {
		ask(t, http.MethodGet, front.URL+"/api/v1/rooms/r/messages", "", header)
		s.mu.Lock()
		shown := s.shown
		s.shown = nil
		s.mu.Unlock()
		if address := caller.Address(metadata.NewIncomingContext(t.Context(), shown)); address != "127.0.0.1" {
			t.Errorf("%s: auth-service heard that it comes from %q, want 127.0.0.1", header, address)
		}
	}
}

// TestRefusedAdmissionsAreLogged: with the cause and the address.
func TestRefusedAdmissionsAreLogged(t *testing.T) {
	front, s := newEdge(t, func(c *Config) { c.MaxConnections = 1 })
	for range 3 {
		ask(t, http.MethodGet, front.URL+"/socket.io/?EIO=4&transport=polling", "")
	}
	events := securityEvents(t, s, "admission")
	if len(events) == 0 {
		t.Fatal("no record of refused handshakes")
	}
	if e := events[0]; e["cause"] != "max_connections" || e["result"] != "limited" || e["address"] != "127.0.0.1" {
		t.Errorf("record %v, want 127.0.0.1 limited by max_connections", e)
	}
}
