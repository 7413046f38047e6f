package presence

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/rawjson"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// Namespace is where clients hear who is online.
const Namespace = "/"

// online keeps the last list of who is online, for sockets that connect. Where the list is not complete, nobody gets one.
type online struct {
	mu    sync.Mutex // guards what follows
	list  *eventv1.OnlineUsers
	users map[string]struct{} // of list
	full  *transport.Message  // what a new socket gets; nil without a complete list
}

// greeting is what a new socket gets at once; nil when it is not for its namespace, or the next list brings it.
func (o *online) greeting(s *session.Socket) *transport.Message {
	if s.Namespace != Namespace {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, listed := o.users[s.UserID]; !listed {
		return nil
	}
	return o.full
}

// replace makes list the last one, and tells whether the one before was complete.
func (o *online) replace(list *eventv1.OnlineUsers, full *transport.Message) (wasComplete bool) {
	users := make(map[string]struct{}, len(list.GetUserIds()))
	for _, u := range list.GetUserIds() {
		users[u] = struct{}{}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	wasComplete = o.list.GetComplete()
	o.list, o.full, o.users = list, full, users
	return wasComplete
}

// isLast tells whether a list says the same as the last one.
func (o *online) isLast(list *eventv1.OnlineUsers) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.list != nil && o.list.GetComplete() == list.GetComplete() && slices.Equal(o.list.GetUserIds(), list.GetUserIds())
}

// Online takes in a new list of who is online and gives the message for every socket of Namespace; nil when there is nothing new, and
// while the list is not complete: then clients hear of those whom they watch. When it ends being complete they are told that once.
// One goroutine calls it.
func (p *Presence) Online(data []byte) *transport.Message {
	list := new(eventv1.OnlineUsers)
	if err := proto.Unmarshal(data, list); err != nil {
		p.log.Warn("online list cannot be decoded", slog.Any("error", err))
		return nil
	}
	if !list.GetComplete() {
		list.UserIds = nil // presence-services before PresenceChanges name some
	}
	if p.online.isLast(list) {
		return nil
	}
	if list.GetComplete() {
		full := p.message("users:online", append(rawjson.AppendStrings([]byte("["), list.GetUserIds()), ']'))
		p.online.replace(list, full)
		return full
	}
	if !p.online.replace(list, nil) || list.GetCount() == 0 { // 0: nobody is to know any more
		return nil
	}
	return p.message("presence:update", fmt.Appendf(nil, `[{"online":[],"offline":[],"count":%d}]`, list.GetCount()))
}

func (p *Presence) message(event string, args []byte) *transport.Message {
	m, err := session.Emit{Namespace: Namespace, Event: event, Args: args}.Encode()
	if err != nil {
		p.log.Error("event cannot be encoded", slog.String("event", event), slog.Any("error", err))
		return nil
	}
	return m
}
