package chatservice_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/proto/caller"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// announce tells of names as auth-service does, and waits until they are stored.
func (s *system) announce(names ...*eventv1.UserName) {
	s.t.Helper()
	raw, err := proto.Marshal(&eventv1.UserNames{Names: names})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.nc.Request(subject.Named, raw, 30*time.Second); err != nil {
		s.t.Fatalf("announce %v: %v", names, err)
	}
}

func called(user, name string, version int64) *eventv1.UserName {
	return &eventv1.UserName{UserId: user, Name: name, Version: version}
}

// posted gives the name by which a backend's post in the name of a user is shown.
func (s *system) posted(replica int, user, room string) string {
	s.t.Helper()
	md, _ := caller.Metadata(nil, []string{caller.ScopeMessages}, "")
	_, err := s.grpc[replica].PostMessage(metadata.NewOutgoingContext(s.t.Context(), md), &chatv1.PostMessageRequest{RoomId: room, UserId: user, Content: "x"})
	if err != nil {
		s.t.Fatalf("PostMessage(%s, %s): %v", user, room, err)
	}
	return s.lastSender(user, room)
}

// said gives the name by which a message is shown that a socket with a name sends.
func (s *system) said(user, name string, version int64, room string) string {
	s.t.Helper()
	e := event(user, "/", "message:send", fmt.Sprintf(`[{"roomId":%q,"content":"x"}]`, room))
	e.Identity.Name, e.Identity.NameVersion = name, version
	if reply, err := s.request(e); err != nil || reply.GetFault() != nil {
		s.t.Fatalf("message:send = %v, %v", reply, err)
	}
	return s.lastSender(user, room)
}

func (s *system) lastSender(user, room string) string {
	s.t.Helper()
	history := s.ack(user, "/", "message:history", fmt.Sprintf(`[{"roomId":%q,"limit":1}]`, room))
	return history["messages"].([]any)[0].(map[string]any)["sender"].(map[string]any)["name"].(string)
}

// enterAs has a socket with a name enter a room, and gives the name that the others are told, "" when it was a member.
func (s *system) enterAs(live *nats.Subscription, user, name string, version int64, room string) string {
	s.t.Helper()
	e := event(user, "/", "room:join", quote(room))
	e.Identity.Name, e.Identity.NameVersion = name, version
	if _, err := s.grpc[0].JoinRoom(s.t.Context(), &chatv1.JoinRoomRequest{Event: e}); err != nil {
		s.t.Fatalf("JoinRoom(%s, %s): %v", user, room, err)
	}
	if live == nil {
		return ""
	}
	joined, _ := nextEvent(s.t, live)
	return first(s.t, joined.GetEmit().GetArgs())["userName"].(string)
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestNames: a user has one name, whichever socket and whoever else speaks for it, and it never turns back.
func TestNames(t *testing.T) {
	s := newSystem(t, 2)
	for _, room := range []string{"r", "s"} {
		s.join("bob", room)
		s.enterAs(nil, "ann", "Ann", 0, room)
	}
	want(t, "posted before", s.posted(0, "ann", "r"), "Ann")

	s.announce(called("ann", "Anna", 10), called("nobody yet", "Nina", 10))
	for replica := range 2 {
		want(t, "posted by a backend, the user joined before", s.posted(replica, "ann", "r"), "Anna")
		want(t, "posted by a backend, another room", s.posted(replica, "ann", "s"), "Anna")
	}
	want(t, "said on a socket of before", s.said("ann", "Ann", 0, "r"), "Anna")
	want(t, "another user", s.posted(0, "bob", "r"), "BOB")

	// Typing, by a socket of before; the membership was not looked at yet.
	live := s.listen(subject.Room("r"))
	e := event("ann", "/", "typing:start", `["r"]`)
	e.Identity.Name = "Ann"
	if reply, err := s.request(e); err != nil || reply.GetFault() != nil {
		t.Fatalf("typing:start = %v, %v", reply, err)
	}
	typing, _ := nextEvent(t, live)
	want(t, "typing on a socket of before", first(t, typing.GetEmit().GetArgs())["userName"].(string), "Anna")
	_ = live.Unsubscribe()

	// Rooms that are joined later, by sockets of before and by one that is ahead of the announcement.
	third := s.enter("bob", "t")
	want(t, "joined on a socket of before", s.enterAs(third, "ann", "Ann", 0, "t"), "Anna")
	want(t, "posted there", s.posted(1, "ann", "t"), "Anna")
	fourth := s.enter("bob", "u")
	want(t, "joined on a socket with a newer name", s.enterAs(fourth, "ann", "Annie", 20, "u"), "Annie")
	want(t, "said on a socket with a newer name", s.said("ann", "Annie", 20, "r"), "Annie")
	want(t, "said by whom nobody knew when the name changed", s.enterAs(s.enter("bob", "v"), "nobody yet", "N", 0, "v"), "Nina")

	s.announce(called("ann", "Anna", 10)) // late
	want(t, "posted after an older announcement", s.posted(0, "ann", "u"), "Annie")
	s.announce(called("ann", "Annie", 20))
	s.announce(called("ann", "Annie", 20), called("system", "Eve", 99), called("", "x", 1), called("ann", "An", 15), called("ann", "A\x00B", 30), called("ann", "no", 25))
	want(t, "posted after several", s.posted(0, "ann", "r"), "A\ufffdB")

	// Who left and comes back has it, too; and so does a replica that knows nothing but what is stored.
	s.ack("ann", "/", "room:leave", `["r"]`)
	s.enterAs(nil, "ann", "Ann", 0, "r")
	client, _ := s.start()
	s.grpc = append(s.grpc, client)
	s.waitServing()
	want(t, "posted by a replica that has just started", s.posted(2, "ann", "r"), "A\ufffdB")
	want(t, "said on a socket of before", s.said("ann", "Ann", 0, "r"), "A\ufffdB")
}
