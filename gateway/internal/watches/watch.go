package watches

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
	"github.com/starling-chat/starling/proto/limits"
)

// The client events that are about watches, which the gateway itself keeps.
const (
	EventWatch       = "presence:watch"
	EventWatchRoom   = "presence:watch-room"
	EventUnwatchRoom = "presence:unwatch-room"
)

// maxWatched is how many users one socket may watch by their ids, and how many one question to presence-service may name.
const maxWatched = 500

// Service is presence-service, which says whom a client may watch, and how they are.
type Service interface {
	Watch(ctx context.Context, r *presencev1.WatchRequest, opts ...grpc.CallOption) (*presencev1.WatchResponse, error)
}

// IsWatch tells whether a client event is for Watch.
func IsWatch(event string) bool {
	return event == EventWatch || event == EventWatchRoom || event == EventUnwatchRoom
}

// Request is a client event that IsWatch.
type Request struct {
	Event  string
	Args   []byte // a JSON array that was checked
	Socket *session.Socket
	Place  *Place // of Socket
	// Joined tells whether the socket is in a room.
	Joined func(roomID string) bool
	// Ack queues the answer to the socket.
	Ack func(args []byte)
}

// Watch does what a client event about watches asks for. Nothing of a user is sent to the socket between the question and the
// answer; what changed meanwhile comes behind it. The error is a fault, and then nothing has changed.
func (t *Watches) Watch(ctx context.Context, r Request) error {
	w := t.watcherOf(r.Place, r.Socket)
	if w == nil {
		return errGone
	}
	if r.Event == EventWatch {
		ids, err := userIDs(r.Args)
		if err != nil {
			return err
		}
		return t.watchUsers(ctx, w, ids, r.Ack)
	}
	roomID, err := roomID(r.Args)
	switch {
	case err != nil:
		return err
	case r.Event == EventUnwatchRoom:
		t.graph.unwatchRoom(w, roomID)
		r.Ack([]byte(`[{"ok":true}]`))
		return nil
	case !r.Joined(roomID):
		return errNotJoined
	}
	return t.watchRoom(ctx, w, roomID, r)
}

// opens is what a socket's token opens: its State says so.
func opens(s *session.Socket) []*eventv1.RoomGrant {
	if holder, ok := s.State.(interface{ Opens() []*eventv1.RoomGrant }); ok {
		return holder.Opens()
	}
	return nil
}

var (
	errGone      = fault.New(fault.Unavailable, "The socket is gone")
	errNotJoined = fault.New(fault.Forbidden, "Join the room to watch it")
)

// watchUsers replaces the users that a socket watches by their ids.
func (t *Watches) watchUsers(ctx context.Context, w *watcher, ids []string, ack func([]byte)) error {
	res := new(presencev1.WatchResponse)
	if len(ids) > 0 {
		added, err := t.graph.begin(w, ids)
		if err != nil {
			return err
		}
		if err = t.listening(ctx); err == nil { // changes are heard before anybody is asked
			res, err = t.service.Watch(ctx, &presencev1.WatchRequest{AsUserId: w.socket.UserID, UserIds: ids, Grants: opens(w.socket)})
		}
		if err != nil {
			t.graph.cancel(w, added)
			return fault.FromStatus(err)
		}
	}
	if !t.graph.settle(w, res, time.Now()) {
		return errGone
	}
	ack(ackOf("", res))
	t.graph.answered(w)
	return nil
}

// watchRoom has a socket watch the members of a room.
func (t *Watches) watchRoom(ctx context.Context, w *watcher, roomID string, r Request) error {
	t.graph.asking(w)
	defer t.graph.answered(w)
	res, err := t.service.Watch(ctx, &presencev1.WatchRequest{AsUserId: w.socket.UserID, RoomId: roomID, Grants: opens(w.socket)})
	if err != nil {
		return fault.FromStatus(err)
	}
	unheard, err := t.graph.watchRoom(w, roomID, res)
	if err != nil {
		return err
	}
	if len(unheard) > 0 { // what changed before their shards were heard
		if err = t.listening(ctx); err == nil {
			err = t.renewUsers(ctx, unheard)
		}
		if err != nil {
			t.graph.unwatchRoom(w, roomID)
			return fault.FromStatus(err)
		}
	}
	if !r.Joined(roomID) { // it has left, or was put out, while presence-service was asked; LeftRoom sees to it from now on
		t.graph.unwatchRoom(w, roomID)
		return errNotJoined
	}
	r.Ack(ackOf(roomID, res))
	return nil
}

// userIDs reads [{"userIds":[…]}]; the list may be empty.
func userIDs(args []byte) ([]string, error) {
	arg, _ := rawjson.First(args)
	list, ok := rawjson.Field(arg, "userIds")
	if !ok || list[0] != '[' {
		return nil, fault.New(fault.Invalid, "userIds must be an array of strings")
	}
	var ids []string
	seen := make(map[string]struct{})
	for raw := range rawjson.Split(list) {
		id, ok := rawjson.Unquote(raw)
		if !ok {
			return nil, fault.New(fault.Invalid, "userIds must be an array of strings")
		}
		if !limits.ValidUserID(id) {
			return nil, fault.Newf(fault.Invalid, "userIds: a user id has 1 to %d printable characters, and is not %s", limits.UserIDChars, limits.SystemUserID)
		}
		if _, again := seen[id]; again {
			continue
		}
		if len(ids) == maxWatched {
			return nil, fault.Newf(fault.TooLarge, "A socket can watch %d users at most", maxWatched)
		}
		seen[id] = struct{}{}
		ids = append(ids, id)
	}
	return ids, nil
}

// roomID reads ["id"] or [{"roomId":"id"}].
func roomID(args []byte) (string, error) {
	arg, ok := rawjson.First(args)
	if ok && arg[0] == '{' {
		arg, ok = rawjson.Field(arg, "roomId")
	}
	if !ok {
		return "", fault.New(fault.Invalid, "roomId is missing")
	}
	id, ok := rawjson.Unquote(arg)
	switch {
	case !ok:
		return "", fault.New(fault.Invalid, "roomId must be a string")
	case !limits.ValidRoomID(id):
		return "", fault.Newf(fault.Invalid, "roomId must be 1 to %d printable characters", limits.RoomIDChars)
	}
	return id, nil
}

// ackOf is [{"ok":true,"roomId":…,"users":[{"userId":…,"online":…,"lastSeen":…}],"denied":[…]}].
func ackOf(roomID string, res *presencev1.WatchResponse) []byte {
	b := []byte(`[{"ok":true`)
	if roomID != "" {
		b = rawjson.AppendString(append(b, `,"roomId":`...), roomID)
	}
	b = append(b, `,"users":[`...)
	for i, u := range res.GetUsers() {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(append(b, `{"userId":`...), u.GetUserId())
		b = fmt.Appendf(b, `,"online":%t,"lastSeen":`, u.GetOnline())
		if u.LastSeen == nil {
			b = append(b, `null}`...)
			continue
		}
		b = append(rawjson.AppendString(b, u.GetLastSeen()), '}')
	}
	b = append(b, ']')
	if denied := res.GetDeniedUserIds(); len(denied) > 0 {
		b = rawjson.AppendStrings(append(b, `,"denied":`...), denied)
	}
	return append(b, `}]`...)
}
