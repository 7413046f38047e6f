package session

import (
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/table"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/obs"
)

// Config are the protocol's settings.
type Config struct {
	PingInterval   time.Duration
	PingTimeout    time.Duration
	ConnectTimeout time.Duration // from the handshake to the first namespace
	ConnectRate    float64       // CONNECTs of one session, a second; 0 = no bound
	ConnectBurst   int           // CONNECTs at once
	MaxPayload     int           // bytes of one packet
	FirstPayload   int           // the same, before a namespace has let the client in; 0 = no less
	PacketTimeout  time.Duration // patience with a packet whose attachments are still to come; 0 = any
	Unfinished     *transport.Unfinished
	Strangers      *transport.Strangers
	MaxAttachments int
	MaxDepth       int    // of JSON
	Raw            RawApp // for tests of Engine.IO alone: takes the place of the App; nil otherwise
}

// App is what sessions serve. Its calls come from the session's reader, in order, and must not block.
type App interface {
	// Connect decides a namespace CONNECT; auth is its JSON object, nil when absent, valid during the call only. The App
	// answers with Session.NewSocket and Admit, or with Session.Refuse, now or later. An App that answers later calls
	// Session.Answered when it is done, which may bring the next Connect.
	Connect(s *Session, namespace string, auth []byte)
	// Event takes an event of a connected socket.
	Event(s *Socket, e Event)
	// BatchEnd tells that all Events of the socket that came together have been given.
	BatchEnd(s *Socket)
	// Ack takes a client's ack of an emit with ack id.
	Ack(s *Socket, id int64, args []byte, attachments [][]byte)
	// Disconnected tells that a socket left its namespace. It is called once for each socket that was admitted.
	Disconnected(s *Socket, reason transport.Reason)
}

// Event is one client event.
type Event struct {
	Name        string
	Packet      socketio.Packet // AppendArgs gives the arguments; aliases the input, valid during the call only
	Attachments [][]byte
}

// Server holds the open sessions and their clock.
type Server struct {
	// Fixed at birth.
	cfg      Config
	born     time.Time
	app      App
	log      *slog.Logger
	stats    *stats.Stats
	limits   socketio.Limits
	ping     *transport.Message
	sids     *SIDs
	wheel    *wheel   // has a lock of its own
	partials partials // has a lock of its own

	suspicions *obs.Samplers // of the log of what may be wrong with clients
	refusals   *obs.Samplers // of the log of refused CONNECTs, and of strangers that had to make room

	count  atomic.Int64
	opened atomic.Int64

	mu       sync.Mutex                           // guards what follows
	sessions *table.Table[[idBytes]byte, Session] // by the random part of the sid
	ended    map[sid]closedSession
	draining bool
}

// NewServer makes a server. names are the namespaces and events that packets usually carry; it saves their allocation.
func NewServer(cfg Config, sids *SIDs, app App, names socketio.Names, st *stats.Stats, log *slog.Logger) *Server {
	s := &Server{
		cfg: cfg, born: time.Now(), sids: sids, app: app, log: log, stats: st,
		limits: socketio.Limits{MaxAttachments: cfg.MaxAttachments, MaxDepth: cfg.MaxDepth, Known: names},
		ping:   transport.TextMessage(string(rune(engineio.Ping))),

		suspicions: obs.NewSamplers(suspicionInterval),
		refusals:   obs.NewSamplers(refusalInterval),
	}
	s.sessions = table.New(func(s *Session) [idBytes]byte { return s.sid.random })
	s.ended = make(map[sid]closedSession)
	s.partials.sessions = make(map[*Session]*partial)
	s.wheel = newWheel(cfg.PingInterval, cfg.PingTimeout)
	return s
}

// Count tells how many sessions live.
func (s *Server) Count() int { return int(s.count.Load()) }

// Opened tells how many sessions there have been.
func (s *Server) Opened() int64 { return s.opened.Load() }

// Headers is what a session keeps of its handshake request.
type Headers struct {
	Authorization string
	RemoteIP      string
	// FixedArguments tells that the client is of a kind whose handlers break on an argument more than the event has, so that it
	// gets no recovery offsets unless it asks for them.
	FixedArguments bool
}

// Bearer is the token of an Authorization header of that kind; "" = there is none.
func (h Headers) Bearer() string {
	if scheme, rest, found := strings.Cut(h.Authorization, " "); found && strings.EqualFold(scheme, "Bearer") {
		return strings.ToValidUTF8(strings.TrimSpace(rest), "\uFFFD") // protobuf would refuse to carry other bytes
	}
	return ""
}

// Open starts a session on a conn that speaks WebSocket from the beginning, and sends the open packet.
func (s *Server) Open(conn transport.Conn, headers Headers) *Session {
	session, refused := s.open(conn, headers, nil)
	if refused {
		conn.Close(transport.CodeRestart, transport.ReasonDrain)
		return session
	}
	session.rawOpened()
	return session
}

// open makes a session and queues its open packet. A draining server makes one that is closed already.
func (s *Server) open(conn transport.Conn, headers Headers, upgrades []string) (_ *Session, refused bool) {
	session := &Session{server: s, conn: conn, headers: headers, sid: s.sids.new(), opened: time.Since(s.born)}
	if p := session.polling(); p != nil {
		p.Bind(session) // before anybody can end it
	}
	s.mu.Lock()
	refused = s.draining
	if !refused {
		s.sessions.Put(session)
	}
	s.mu.Unlock()
	if refused {
		session.closed = true
		return session, true
	}
	if s.cfg.Raw != nil || s.cfg.FirstPayload == 0 {
		session.admit()
	} else {
		s.cfg.Strangers.Wait(session, &session.place, false)
	}
	s.count.Add(1)
	s.opened.Add(1)
	s.stats.Connections.Inc()
	b := transport.NewBuilder(200)
	conn.Queue(b.Message(engineio.AppendOpen(b.Buffer(), engineio.Handshake{
		SID: session.SID(), Upgrades: upgrades,
		PingInterval: int(s.cfg.PingInterval.Milliseconds()),
		PingTimeout:  int(s.cfg.PingTimeout.Milliseconds()),
		MaxPayload:   s.cfg.MaxPayload,
	}), nil))
	conn.Flush()
	s.wheel.add(session, min(session.firstPing(), s.cfg.ConnectTimeout))
	return session, false
}

// Find gives the session with a sid; nil when there is none here.
func (s *Server) Find(sid string) *Session { return s.session(sid) }

func (s *Server) session(text string) *Session {
	id, ok := s.sids.parse(text)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.sessions.Get(id.random); found != nil && found.sid == id {
		return found
	}
	return nil
}

// MaxBody tells how many bytes a POST of a session may have; 0 where there is none.
func (s *Server) MaxBody(sid string) int {
	session := s.session(sid)
	if session == nil {
		return 0
	}
	return session.maxPayload()
}

// End ends the session with a sid, if it lives here.
func (s *Server) End(sid string, reason transport.Reason) {
	if session := s.session(sid); session != nil {
		session.Close(transport.CodeTooBig, reason)
	}
}

// forget removes an ended session.
func (s *Server) forget(session *Session) {
	s.mu.Lock()
	known := s.sessions.Get(session.sid.random) != nil
	s.sessions.Remove(session.sid.random)
	s.mu.Unlock()
	if known {
		s.count.Add(-1)
		s.stats.Connections.Dec()
	}
}

// Refuse makes every session that opens from now on close at once, and returns those that live.
func (s *Server) Refuse() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	return slices.AppendSeq(make([]*Session, 0, s.sessions.Len()), s.sessions.All())
}

// The size of an id: bytes, and characters of base64.
const (
	idBytes = 15
	idChars = idBytes * 8 / 6
)

// NewID makes an id of 120 random bits in 20 characters, safe in URLs and subjects.
func NewID() string {
	var raw [idBytes]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(raw[:])
}
