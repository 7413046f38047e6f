// Package access says who may call what by gRPC. This is the only place that does; servers of package rpc ask it for every call of
// a caller that they know by a token of its own.
//
//	caller              may call
//	gateway             everything that auth-, chat- and presence-service answer
//	presence-service    ListMembers and ListRoommates of ChatService: who is in a room with whom
//	chat-service        nothing
//	auth-service        nothing
//	another backend     what REST offers to API keys, and never in the name of a user
//
// Another backend is a caller of any other name: a program of the operator's that asks by gRPC instead of REST. What services of an
// operator's own answer is theirs to decide: whoever has a token may call it.
package access

import (
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Names of the callers that have a line of their own.
const (
	Gateway         = "gateway"
	AuthService     = "auth-service"
	ChatService     = "chat-service"
	PresenceService = "presence-service"
)

// What the names of Starling's gRPC services begin with.
const (
	ours     = "/starling."
	auth     = ours + "auth."
	chat     = ours + "chat."
	presence = ours + "presence."
)

// May tells whether a caller may call a method, "/package.Service/Method".
func May(caller, method string) bool {
	if !strings.HasPrefix(method, ours) {
		return true
	}
	switch caller {
	case Gateway:
		return strings.HasPrefix(method, auth) || strings.HasPrefix(method, chat) || strings.HasPrefix(method, presence)
	case PresenceService:
		return method == chat+"v1.ChatService/ListMembers" || method == chat+"v1.ChatService/ListRoommates"
	case AuthService, ChatService:
		return false
	default:
		return offeredToKeys(method)
	}
}

// ForUsers tells whether a caller may say that a user asks.
func ForUsers(caller string) bool { return caller == Gateway }

// offeredToKeys tells whether REST offers a method to others than people who log in. Methods that answer a user only refuse
// a call that names none. A method that is served here is in the registry.
func offeredToKeys(method string) bool {
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return false
	}
	rule, ok := proto.GetExtension(found.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		return false
	}
	path := rule.GetGet() + rule.GetPost() + rule.GetPut() + rule.GetPatch() + rule.GetDelete()
	return path != "" && !strings.HasPrefix(path, "/api/v1/auth/") && !strings.HasPrefix(path, "/.well-known/")
}
