package userlog

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/gateway/internal/replay"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	"github.com/starling-chat/starling/proto/limits"
	"github.com/starling-chat/starling/proto/namespaces"
)

// Namespace is the one whose sockets enter the logs of their users.
const Namespace = namespaces.Main

// Start is from where a socket follows its user's log.
type Start struct {
	Seq   int64 // what its client has seen, or unknown
	Since int64 // when the client first had the socket, in Unix milliseconds: what came later it is to be told
	Old   bool  // the client had the socket before it came to this gateway
}

// Unknown is the Seq of a socket that did not say what it has seen.
const Unknown = -1

// Client is what the relay keeps for a socket, as the socket's State.
type Client interface {
	LogStart() Start
	// InRoom tells whether a room is on the socket's list.
	InRoom(roomID string) bool
	// RoomIndex is a room's number in the socket's offsets.
	RoomIndex(roomID string) uint32
	// ListRoom puts a room on the socket's list, seen up to a sequence; false: the socket is gone. Who ends the socket has it leave
	// the rooms on its list.
	ListRoom(roomID string, index uint32, seq uint64) (alive bool)
	// Gone tells whether the socket has ended.
	Gone() bool
}

// Deps are what the logs stand on.
type Deps struct {
	Chat     chatv1.ChatServiceClient
	Hub      *hub.Hub
	Registry *hub.Registry
	// Repair has a room's events fetched up to a sequence.
	Repair func(roomID string, head uint64)
	// Missed is told whose log has events that were not heard; nil = nobody is.
	Missed   func(userID string)
	Stats    *stats.Stats
	Log      *slog.Logger
	Interval time.Duration // between two questions whose logs have grown
}

// Logs has sockets enter the logs of their users.
type Logs struct {
	deps    Deps
	replay  replay.Replay
	now     chan struct{} // the logs are to be compared at once
	since   time.Time     // by the database's clock: what is younger is to be compared; owned by compare
	failing obs.Repeats

	mu  sync.Mutex // guards due
	due []*entry   // in the order of their turn
}

// entry is a socket that is to enter its user's log. A worker owns it, and before that the queue.
type entry struct {
	socket *session.Socket
	client Client
	roomID string
	at     time.Time // its turn

	heard  uint64 // the event that came; 0 = none has
	begun  bool   // the hub buffers for it
	index  uint32
	listed bool   // the log is on its list of rooms
	after  uint64 // then: it has been sent what comes up to here
}

const (
	retry       = 300 * time.Millisecond
	workTimeout = 30 * time.Second
	askTimeout  = 3 * time.Second
	// lookBack is how far before its own start a gateway looks for the first time: clocks may differ.
	lookBack = time.Minute
)

// New makes the logs of a gateway; Run has sockets enter that cannot do so at once.
func New(deps Deps) *Logs {
	return &Logs{
		deps: deps, replay: replay.Replay{Chat: deps.Chat, Stats: deps.Stats}, now: make(chan struct{}, 1), since: time.Now().Add(-lookBack),
		failing: obs.Repeats{Log: deps.Log, Message: "log of a user not read"},
	}
}

// Run works until ctx ends.
func (l *Logs) Run(ctx context.Context) error {
	var g run.Group
	g.Go("entries", l.work)
	g.Go("heads of logs", l.compare)
	return g.Run(ctx)
}

// Resync is to be called when the bus is back: it has the logs compared at once, to find what was missed meanwhile.
func (l *Logs) Resync() {
	select {
	case l.now <- struct{}{}:
	default: // it is wanted already
	}
}

// Heard is to be called before the hub gets events of a user's log, with the sequence of the first. It has those of the user's sockets
// enter the log that have not. It does not wait for anything.
func (l *Logs) Heard(userID string, first uint64) {
	roomID := limits.UserLog(userID)
	for _, s := range l.deps.Registry.User(userID) {
		c, ok := s.State.(Client)
		if !ok || s.Namespace != Namespace || c.InRoom(roomID) {
			continue
		}
		e := &entry{socket: s, client: c, roomID: roomID, heard: first}
		if last, started, ok := l.begin(e); ok && !l.enterAtOnce(e, last, started) {
			l.push(e)
		}
	}
}

// Look has a socket be told what its user's log has got that it has not seen. Call it when the socket is registered.
func (l *Logs) Look(s *session.Socket) {
	c, ok := s.State.(Client)
	if roomID := limits.UserLog(s.UserID); ok && s.Namespace == Namespace && !c.InRoom(roomID) {
		l.push(&entry{socket: s, client: c, roomID: roomID})
	}
}

// begin has the hub buffer for a socket. ok is false if somebody else has the socket enter, or did.
func (l *Logs) begin(e *entry) (last uint64, started, ok bool) {
	e.index = e.client.RoomIndex(e.roomID)
	last, started, e.begun = l.deps.Hub.BeginFirstJoin(e.socket, e.roomID, e.index)
	return last, started, e.begun
}

// enterAtOnce lets a socket in if it is plain from where it follows the log. last is where the hub stands with it, if it has started.
func (l *Logs) enterAtOnce(e *entry, last uint64, started bool) bool {
	start := e.client.LogStart()
	switch {
	case start.Seq >= 0:
		if uint64(start.Seq) != e.heard-1 && (!started || uint64(start.Seq) != last) {
			return false
		}
		e.after = uint64(start.Seq)
	case started && !start.Old: // nothing came since it connected, or it would have entered then
		e.after = last
	case e.heard == 1:
		e.after = 0
	default:
		return false
	}
	return !l.list(e) || l.complete(e)
}

// list puts the log on the socket's list of rooms; false: the socket is gone, and nothing is left to do.
func (l *Logs) list(e *entry) bool {
	if e.listed = e.client.ListRoom(e.roomID, e.index, e.after); !e.listed {
		l.abort(e)
	}
	return e.listed
}

func (l *Logs) abort(e *entry) {
	if e.begun && !e.listed {
		var flushes transport.FlushSet
		l.deps.Hub.AbortJoin(e.socket, e.roomID, &flushes)
		l.deps.Hub.Forget(e.roomID)
	}
}

// complete lets the socket in behind what it has been sent; false: there is more to be read first.
func (l *Logs) complete(e *entry) bool {
	var flushes transport.FlushSet
	ok, _ := l.deps.Hub.CompleteJoin(e.socket, e.roomID, e.after, nil, &flushes) // nobody is evicted from a log
	flushes.Flush()
	return ok
}
