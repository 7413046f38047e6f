package relay

import (
	"context"
	"testing"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// presenceService lets everybody watch everybody; bob is the member of every room, and nobody is online.
type presenceService struct {
	presencev1.UnimplementedPresenceServiceServer
}

func (presenceService) Watch(_ context.Context, r *presencev1.WatchRequest) (*presencev1.WatchResponse, error) {
	res := &presencev1.WatchResponse{}
	ids := r.GetUserIds()
	if r.GetRoomId() != "" {
		ids = []string{"bob"}
	}
	for _, id := range ids {
		if id == "away" {
			return nil, fault.New(fault.Unavailable, "Presence is unavailable")
		}
		res.Users = append(res.Users, &presencev1.UserPresence{UserId: id})
	}
	return res, nil
}

// TestWatch: client events about watches are the gateway's own, with acks and refusals like all others, in the namespaces with rooms.
func TestWatch(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, "ann")
	c.Say(`421["presence:watch",{"userIds":["bob"]}]`)
	c.WaitFor(t, `431[{"ok":true,"users":[{"userId":"bob","online":false,"lastSeen":null}]}]`)
	c.Say(`422["presence:watch",{"userIds":["away"]}]`, `42["presence:watch",{"userIds":7}]`, `423["presence:watch-room","r"]`)
	c.WaitFor(t, `432[{"ok":false,"error":{"code":"unavailable"`)
	c.WaitFor(t, `42["event:error",{"event":"presence:watch","code":"invalid","message":"userIds must be an array of strings"}]`)
	c.WaitFor(t, `433[{"ok":false,"error":{"code":"forbidden","message":"Join the room to watch it"}}]`)
	w.send(t, subject.PresenceChanged(subject.UserShard("bob")), &eventv1.PresenceChanges{Users: []*eventv1.PresenceChange{{UserId: "bob", Online: true}}})
	c.WaitFor(t, `42["presence:changed",{"users":[{"userId":"bob","online":true}]}]`)
}

// TestWatchEndsWithTheRoom: a socket that is put out of a room is told nothing of its members any more.
func TestWatchEndsWithTheRoom(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, "ann")
	w.join(t, c, "r")
	c.Say(`421["presence:watch-room","r"]`)
	c.WaitFor(t, `431[{"ok":true,"roomId":"r","users":[{"userId":"bob","online":false,"lastSeen":null}]}]`)
	at := subject.PresenceChanged(subject.UserShard("bob"))
	w.send(t, at, &eventv1.PresenceChanges{Users: []*eventv1.PresenceChange{{UserId: "bob", Online: true}}})
	c.WaitFor(t, `42["presence:changed"`)
	w.publish(t, w.chat.commit("r", func(e *eventv1.RoomEvent) { e.EvictUserId = "ann" }))
	sessiontest.Eventually(t, func() bool { // and nobody here hears of bob's shard
		return !bustest.HasSubscriber(t, w.service, at)
	}, func() string { return "the watch does not end with the room" })
	c.Say(`422["presence:watch-room","r"]`)
	c.WaitFor(t, `432[{"ok":false,"error":{"code":"forbidden"`)
}
