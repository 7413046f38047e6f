package access_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	starling "github.com/starling-chat/starling/proto"
	"github.com/starling-chat/starling/proto/access"
	_ "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	_ "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	_ "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	_ "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
)

const backend = "orders"

// methods returns the full name of every method that Starling's services have.
func methods() []string {
	var all []string
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		services := file.Services()
		for i := range services.Len() {
			list := services.Get(i).Methods()
			for j := range list.Len() {
				if strings.HasPrefix(string(services.Get(i).FullName()), "starling.") {
					all = append(all, "/"+string(services.Get(i).FullName())+"/"+string(list.Get(j).Name()))
				}
			}
		}
		return true
	})
	slices.Sort(all)
	return all
}

// TestTable: whole services are the gateway's alone, and what others may call is exactly what the table says.
func TestTable(t *testing.T) {
	for _, method := range methods() {
		cluster := strings.HasPrefix(method, "/starling.cluster.")
		if got := access.May(access.Gateway, method); got == cluster {
			t.Errorf("May(gateway, %s) = %v, want %v", method, got, !cluster)
		}
		asked := method == "/starling.chat.v1.ChatService/ListMembers" || method == "/starling.chat.v1.ChatService/ListRoommates"
		if got := access.May(access.PresenceService, method); got != asked {
			t.Errorf("May(presence-service, %s) = %v", method, got)
		}
		for _, caller := range []string{access.AuthService, access.ChatService} {
			if access.May(caller, method) {
				t.Errorf("May(%s, %s) = true, want nothing allowed", caller, method)
			}
		}
		if !access.May(access.Gateway, method) && !access.May(backend, method) {
			t.Errorf("nobody may call %s", method)
		}
	}
	for _, caller := range []string{access.Gateway, access.PresenceService, access.AuthService, access.ChatService, backend, ""} {
		for _, method := range []string{"/starling.chat.v1.ChatService/Unknown", "/starling.chat.v1.Unknown/JoinRoom", "/starling.", "/starling.other.v1.Service/Method"} {
			if (caller != access.Gateway || strings.Contains(method, "other")) && strings.HasPrefix(method, "/starling.") && access.May(caller, method) {
				t.Errorf("May(%q, %q) = true, want what nobody knows refused", caller, method)
			}
		}
		if !access.May(caller, "/example.orders.v1.Orders/List") {
			t.Errorf("May(%s) of an operator's own service = false, want its own list of callers to decide", caller)
		}
		if access.ForUsers(caller) != (caller == access.Gateway) {
			t.Errorf("ForUsers(%q) = %v", caller, access.ForUsers(caller))
		}
	}
}

// TestBackends: other backends may call by gRPC what REST offers to an API key, and nothing that works for gateways or logs in.
func TestBackends(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string                `json:"operationId"`
			Security    []map[string][]string `json:"security"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(starling.OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	offered := map[string]bool{}
	for path, verbs := range doc.Paths {
		for _, operation := range verbs {
			byKey := slices.ContainsFunc(operation.Security, func(s map[string][]string) bool { _, ok := s["apiKey"]; return ok })
			open := len(operation.Security) == 0
			id := strings.Replace(operation.OperationID, "_", "/", 1)
			i := slices.IndexFunc(methods(), func(m string) bool { return strings.HasSuffix(m, "."+id) })
			if i < 0 {
				t.Errorf("%s: no method is called %s", path, id)
				continue
			}
			method := methods()[i]
			offered[method] = true
			if got := access.May(backend, method); byKey && !got || open && got {
				t.Errorf("May(a backend, %s) = %v, but REST offers it to API keys: %v", method, got, byKey)
			}
		}
	}
	if len(offered) < 10 {
		t.Fatalf("%d methods in REST, want more", len(offered))
	}
	for _, method := range methods() {
		if !offered[method] && access.May(backend, method) {
			t.Errorf("May(a backend, %s) = true, want it for gateways only", method)
		}
	}
}
