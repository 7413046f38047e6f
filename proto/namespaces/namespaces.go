// Package namespaces lists the Socket.IO namespaces that Starling has. Others are refused at the CONNECT.
package namespaces

// The namespaces, as docs/events.md describes them. One room serves Main and Chat together.
const (
	Main          = "/"              // everything
	Chat          = "/chat"          // the chat events; message is short for message:send
	Notifications = "/notifications" // the notifications of the user
)

// Count is how many namespaces there are.
const Count = 3

// All lists the namespaces.
func All() []string { return []string{Main, Chat, Notifications} }

// WithRooms lists the namespaces whose sockets enter rooms.
func WithRooms() []string { return []string{Main, Chat} }

// Exists tells whether a namespace is one of All.
func Exists(namespace string) bool {
	switch namespace {
	case Main, Chat, Notifications:
		return true
	}
	return false
}

// HasRooms tells whether the sockets of a namespace enter rooms.
func HasRooms(namespace string) bool { return namespace == Main || namespace == Chat }
