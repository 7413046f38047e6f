package presence

import (
	"log/slog"
	"slices"
	"strconv"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/rawjson"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// Namespace is where clients hear who is online.
const Namespace = "/"

// online keeps the last list of who is online, for sockets that connect.
type online struct {
	mu    sync.Mutex // guards what follows
	list  *eventv1.OnlineUsers
	users map[string]struct{} // of list
	full  *transport.Message  // what a new socket gets; nil before the first list
}

// greeting is what a new socket gets at once; nil when it is not for its namespace, or the next list brings it.
func (o *online) greeting(s *session.Socket) *transport.Message {
	if s.Namespace != Namespace {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, listed := o.users[s.UserID]; !listed && o.list.GetComplete() {
		return nil
	}
	return o.full
}

// replace makes list the last one.
func (o *online) replace(list *eventv1.OnlineUsers, full *transport.Message) {
	users := make(map[string]struct{}, len(list.GetUserIds()))
	for _, u := range list.GetUserIds() {
		users[u] = struct{}{}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list, o.full, o.users = list, full, users
}

// isLast tells whether a list says the same as the last one.
func (o *online) isLast(list *eventv1.OnlineUsers) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.list != nil && sameList(o.list, list)
}

func sameList(a, b *eventv1.OnlineUsers) bool {
	return a.GetComplete() == b.GetComplete() && a.GetCount() == b.GetCount() &&
		len(b.GetOnline())+len(b.GetOffline()) == 0 && slices.Equal(a.GetUserIds(), b.GetUserIds())
}

// Online takes in a new list of who is online and gives the message for every socket of Namespace; nil when there is nothing new.
// One goroutine calls it.
func (p *Presence) Online(data []byte) *transport.Message {
	list := new(eventv1.OnlineUsers)
	if err := proto.Unmarshal(data, list); err != nil {
		p.log.Warn("online list cannot be decoded", slog.Any("error", err))
		return nil
	}
	if p.online.isLast(list) {
		return nil
	}
	full, change := p.encode(list)
	p.online.replace(list, full)
	return change
}

// encode makes what a new socket gets and what everyone gets.
func (p *Presence) encode(list *eventv1.OnlineUsers) (full, change *transport.Message) {
	if list.GetComplete() {
		full = p.message("users:online", append(appendStrings([]byte("["), list.GetUserIds()), ']'))
		return full, full
	}
	full = p.message("presence:update", appendUpdate(nil, list.GetUserIds(), nil, list.GetCount()))
	change = p.message("presence:update", appendUpdate(nil, list.GetOnline(), list.GetOffline(), list.GetCount()))
	return full, change
}

func (p *Presence) message(event string, args []byte) *transport.Message {
	m, err := session.Emit{Namespace: Namespace, Event: event, Args: args}.Encode()
	if err != nil {
		p.log.Error("event cannot be encoded", slog.String("event", event), slog.Any("error", err))
		return nil
	}
	return m
}

// appendUpdate appends [{"online":[…],"offline":[…],"count":n}].
func appendUpdate(b []byte, online, offline []string, count uint32) []byte {
	b = append(b, `[{"online":`...)
	b = appendStrings(b, online)
	b = append(b, `,"offline":`...)
	b = appendStrings(b, offline)
	b = append(b, `,"count":`...)
	b = strconv.AppendUint(b, uint64(count), 10)
	return append(b, `}]`...)
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(b, s)
	}
	return append(b, ']')
}
