package watches

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/rawjson"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/isotime"
)

const (
	deliverEvery = time.Second // a socket gets presence:changed at most so often
	maxDelivered = 500         // users in one presence:changed; more wait for the next
	flushEvery   = 64          // sockets between two flushes, as the send buffers of all at once would be much
)

// deliverLoop takes in what changed, and sends it to those who watch.
func (t *Watches) deliverLoop(ctx context.Context) error {
	tick := time.NewTicker(deliverEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-t.graph.heard:
			t.changesHeard(msg.Data)
		case <-tick.C:
			t.deliver()
		}
	}
}

// changesHeard takes in the changes of a shard; most of them are of users whom nobody watches here.
func (t *Watches) changesHeard(data []byte) {
	changes := new(eventv1.PresenceChanges)
	if err := proto.Unmarshal(data, changes); err != nil {
		t.log.Warn("presence changes cannot be decoded", slog.Any("error", err))
		return
	}
	now := time.Now()
	g := &t.graph
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range changes.GetUsers() {
		u := g.users[c.GetUserId()]
		if u == nil {
			continue
		}
		seen := ""
		if at := c.GetLastSeen(); at != nil {
			seen = isotime.Format(at.AsTime())
		}
		g.learn(u, c.GetOnline(), seen, now)
	}
}

// deliver sends presence:changed to every socket that watches somebody who changed.
func (t *Watches) deliver() {
	var flushes transport.FlushSet
	for i, d := range t.graph.due(!t.behind()) {
		m := d.parts.message(d.socket.Namespace)
		if m == nil {
			t.log.Error("presence:changed cannot be encoded")
			continue
		}
		if d.socket.Queue(m) {
			t.stats.EventsOut.Inc()
			t.stats.PresenceChanges.Inc()
			flushes.Add(d.socket.Conn())
		}
		if i%flushEvery == flushEvery-1 {
			flushes.Flush()
		}
	}
	flushes.Flush()
}

// delivery is what one socket gets.
type delivery struct {
	socket *session.Socket
	parts  *changeList
}

// due takes what the sockets are to be sent; what was watched of rooms waits unless rooms says so. Sockets for which nothing changed but in one
// room share what they get.
func (g *graph) due(rooms bool) []delivery {
	g.mu.Lock()
	defer g.mu.Unlock()
	ofRooms := make(map[*watcher][]*changeList)
	for room := range g.changedRooms {
		if !rooms {
			break
		}
		list := take(room.pending)
		if len(room.pending) == 0 {
			delete(g.changedRooms, room)
		}
		for w := range room.watchers {
			ofRooms[w] = append(ofRooms[w], list)
		}
	}
	var all []delivery
	for w, lists := range ofRooms {
		switch {
		case w.held > 0: // its answer comes first
			for _, l := range lists {
				for _, u := range l.users {
					w.pending[u.user] = struct{}{}
				}
			}
		case len(lists) == 1 && len(w.pending) == 0:
			all = append(all, delivery{w.socket, lists[0]})
		default:
			for _, l := range lists {
				for _, u := range l.users {
					g.mark(w, u.user)
				}
			}
		}
	}
	for w := range g.changed {
		if w.held > 0 {
			delete(g.changed, w)
			continue
		}
		g.prune(w)
		if len(w.pending) > 0 {
			all = append(all, delivery{w.socket, take(w.pending)})
		}
		if len(w.pending) == 0 {
			delete(g.changed, w)
		}
	}
	return all
}

// prune drops pending changes of users whom a socket watches no more.
func (g *graph) prune(w *watcher) {
	for u := range w.pending {
		_, watched := w.users[u]
		for room := range u.rooms {
			if watched {
				break
			}
			_, watched = w.rooms[room]
		}
		if !watched {
			delete(w.pending, u)
		}
	}
}

// changeList is the content of a presence:changed, which is encoded once a namespace.
type changeList struct {
	users   []userStatus
	encoded map[string]*transport.Message // by namespace; owned by deliver
}

type userStatus struct {
	user   *watchedUser
	id     string
	online bool
	seen   string
}

// take removes up to maxDelivered users from a set, as they are by now.
func take(pending map[*watchedUser]struct{}) *changeList {
	list := &changeList{users: make([]userStatus, 0, min(len(pending), maxDelivered))}
	for u := range pending {
		if len(list.users) == maxDelivered {
			break
		}
		list.users = append(list.users, userStatus{u, u.id, u.online, u.seen})
		delete(pending, u)
	}
	return list
}

// message is [{"users":[{"userId":…,"online":…,"lastSeen":…}]}]; nil when it cannot be encoded.
func (l *changeList) message(namespace string) *transport.Message {
	if m, ok := l.encoded[namespace]; ok {
		return m
	}
	b := []byte(`[{"users":[`)
	for i, u := range l.users {
		if i > 0 {
			b = append(b, ',')
		}
		b = rawjson.AppendString(append(b, `{"userId":`...), u.id)
		b = fmt.Appendf(b, `,"online":%t`, u.online)
		if !u.online && u.seen != "" {
			b = rawjson.AppendString(append(b, `,"lastSeen":`...), u.seen)
		}
		b = append(b, '}')
	}
	m, err := session.Emit{Namespace: namespace, Event: "presence:changed", Args: append(b, `]}]`...)}.Encode()
	if err != nil {
		return nil
	}
	if l.encoded == nil {
		l.encoded = make(map[string]*transport.Message, 1)
	}
	l.encoded[namespace] = m
	return m
}
