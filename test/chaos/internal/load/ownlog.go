package load

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/sioclient"
)

// ownLog is what one device of a user hears of the user's own log. Each CONNECT says up to where that is, so the device is owed all of the log,
// once and in order, over all its connections. It implements receiver.
type ownLog struct {
	*user
	device int // 0: the client

	mu     sync.Mutex // guards all below
	number int        // of the connection
	seq    uint64     // the last one heard
	heard  []history.Heard

	markers map[string]marker // the last one of each room
	badges  []history.Badge   // in the end
}

// marker is me:marker.
type marker struct {
	RoomID string `json:"roomId"`
	Seq    uint64 `json:"seq"`
	N      uint64 `json:"n"`
	At     uint64 `json:"at"`
}

// marker is the last one that the device heard of a room.
func (l *ownLog) marker(room string) (m marker, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, known = l.markers[room]
	return m, known
}

// ofLog tells whether an event is of a user's log.
func ofLog(name string) bool { return strings.HasPrefix(name, "me:") }

// began implements receiver.
func (l *ownLog) began(number int, _ bool, _ history.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number = number
}

// event implements receiver: what is not of the log is nothing to it.
func (l *ownLog) event(e sioclient.Message, _ history.Source) *receipt {
	if !ofLog(e.Name) {
		return nil
	}
	var fields struct {
		Useq    *uint64 `json:"useq"`
		Message struct {
			ID string `json:"id"`
		} `json:"message"` // of me:mention
		marker
	}
	if len(e.Args) == 0 || json.Unmarshal(e.Args[0], &fields) != nil || fields.Useq == nil {
		l.load.counters.fail("unreadable:" + e.Name)
		l.load.log.Error("unreadable event of a log", slog.String("event", e.Name), slog.String("user", l.id))
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	hash := history.LogHash(e.Name, e.Args[0])
	if e.Name == "me:mention" {
		hash = history.MentionHash(*fields.Useq, fields.RoomID, fields.Message.ID)
	}
	l.heard = append(l.heard, history.Heard{
		At: l.now(), Hash: hash, Seq: *fields.Useq, Kind: e.Name,
		User: l.index, Device: l.device, Conn: l.connNumber(l.number),
	})
	l.seq = max(l.seq, *fields.Useq)
	if e.Name == "me:marker" {
		if l.markers == nil {
			l.markers = make(map[string]marker)
		}
		l.markers[fields.RoomID] = fields.marker
	}
	l.load.logHeads[l.index].raise(l.seq)
	return nil
}

// connNumber is the number of one of the device's connections in the history.
func (l *ownLog) connNumber(n int) int { return l.device*history.DeviceNumbers + n }

// useq is up to where the device has heard.
func (l *ownLog) useq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq
}

// caughtUp tells whether the device has heard all that any device of the user has.
func (l *ownLog) caughtUp() bool { return l.useq() >= l.load.logHeads[l.index].Load() }

// into writes down what was heard.
func (l *ownLog) into(h *history.History) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.Heard = append(h.Heard, l.heard...)
	h.Badges = append(h.Badges, l.badges...)
}

// device is another one of a user's devices, in no room: it has an inbox. It goes away and comes back by itself while the load runs. The first
// one of a user never asks for the session before: what it missed it gets by auth.useq alone.
type device struct {
	conn  *connection
	log   *ownLog
	inbox *inbox
}

// How long such a device stays connected.
const stayFrom, stayUntil = 2 * time.Second, 6 * time.Second

func newDevice(u *user, t *tokens, number int) *device {
	d := &device{log: &ownLog{user: u, device: number}, inbox: &inbox{user: u, device: number}}
	d.conn = newConnection(u, t, lister{d.log, d.inbox}, d.log)
	d.conn.fresh, d.conn.inbox = number == 1, true
	return d
}

// comeAndGo ends the device's connection now and then, until ctx ends.
func (d *device) comeAndGo(ctx context.Context) {
	for pause(ctx, d.log.jitter(stayFrom, stayUntil)) == nil {
		if link := d.conn.drop(); link != nil {
			link.Reset()
		}
	}
}

func (l *ownLog) describe() string {
	return fmt.Sprintf("; log of device %d at %d of %d", l.device, l.useq(), l.load.logHeads[l.index].Load())
}
