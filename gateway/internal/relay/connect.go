package relay

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/starling-chat/starling/gateway/internal/calls"
	"github.com/starling-chat/starling/gateway/internal/connectauth"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/gateway/internal/userlog"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/namespaces"
)

// retryAfter is what clients are told when a part is away.
const retryAfter = calls.RetryAfter

// Connect implements session.App: it authenticates in a goroutine of its own. A refusal is final for the client, so only a
// bad token gets one; overload, and an auth-service that stays away, close the transport, and the client comes back by itself.
func (r *Relay) Connect(s *session.Session, namespace string, auth []byte) {
	if !namespaces.Exists(namespace) {
		r.refuseConnect(s, namespace, fault.Refusal(fault.ReasonNamespace, nil))
		return
	}
	token, ok := connectauth.Token(auth, s.Headers())
	if !ok {
		r.refuseConnect(s, namespace, fault.Refusal(fault.ReasonToken, nil))
		return
	}
	if token == "" {
		r.refuseConnect(s, namespace, fault.Refusal(fault.ReasonNoToken, nil))
		return
	}
	if !r.authentication.Begin() {
		r.stats.Handshakes.WithLabelValues("overload").Inc()
		s.Close(transport.CodeTryAgainLater, transport.ReasonOverload)
		return
	}
	request := connectauth.Read(auth, s.Headers())
	r.tasks.Go(func() {
		defer s.Answered(namespace) // what the client asked for meanwhile comes next
		defer r.authentication.End()
		r.authenticate(s, namespace, token, request)
	})
}

// Admit tells whether a client may open a connection, and if not, when it may come back.
func (r *Relay) Admit() (wait time.Duration, ok bool) { return r.authentication.Admit() }

// authenticate asks auth-service about a token, and lets its user into the namespace.
func (r *Relay) authenticate(s *session.Session, namespace, token string, request connectauth.Auth) {
	res, err := r.authentication.Ask(r.ctx, token, s.Ended)
	if err != nil {
		if refusal, ok := fault.RefusalOf(err); ok {
			r.refuseConnect(s, namespace, refusal)
			return
		}
		r.stats.Handshakes.WithLabelValues("unavailable").Inc()
		s.Close(transport.CodeTryAgainLater, transport.ReasonOverload)
		return
	}
	if r.users.Full(res.GetIdentity().GetUserId()) {
		r.refuseSocket(s, namespace)
		return
	}
	r.enterNamespace(s, namespace, res.GetIdentity(), request)
}

// fullFor is when a user with too many sockets is told to try again: by then those that are dead have been noticed.
const fullFor = 30 * time.Second

// refuseSocket refuses a CONNECT of a user who has as many sockets as it may.
func (r *Relay) refuseSocket(s *session.Session, namespace string) {
	r.stats.UserRefusals.WithLabelValues("sockets").Inc()
	f := fault.Refusal(fault.ReasonSockets, nil)
	f.RetryAfter = fullFor
	r.refuseConnect(s, namespace, f)
}

// enterNamespace recovers the client's old socket if it can, and makes a new one otherwise.
func (r *Relay) enterNamespace(s *session.Session, namespace string, identity *eventv1.Identity, request connectauth.Auth) {
	pid := ""
	if r.store.On() && request.Recovery {
		if r.resume(s, namespace, identity, request) != fresh {
			return
		}
		pid = newPID()
	}
	c, err := newClient(r, s, namespace, identity, "", pid, userlog.Start{Seq: request.Useq, Since: time.Now().UnixMilli()})
	if err != nil {
		r.log.Error("identity cannot be encoded", slog.Any("error", err))
		s.Close(transport.CodeTryAgainLater, transport.ReasonOverload)
		return
	}
	if r.revocations.Cover(c.socket.UserID, c) { // while a recovery was tried
		r.refuseConnect(s, namespace, fault.Refusal(fault.ReasonToken, nil))
		return
	}
	c.inbox = request.Inbox
	if c.user = r.users.Enter(c.socket.UserID); c.user == nil { // others of the user came in meanwhile
		r.refuseSocket(s, namespace)
		return
	}
	r.save(c)
	if !s.Admit(c.socket, c.pid, func() { r.register(c.socket, c) }) {
		c.end()
		r.saveEnd(c, transport.ReasonLeft) // nobody got to know its pid
		return
	}
	r.announce(c.socket, c)
}

// refuseConnect answers a CONNECT with a refusal, which is final for official clients.
func (r *Relay) refuseConnect(s *session.Session, namespace string, refusal *fault.Error) {
	r.stats.Handshakes.WithLabelValues("refused").Inc()
	s.LogRefusal(namespace, string(refusal.Reason))
	why := rawjson.AppendString([]byte(`{"code":`), string(refusal.Reason))
	if refusal.RetryAfter > 0 {
		why = strconv.AppendInt(append(why, `,"retryAfterMs":`...), refusal.RetryAfter.Milliseconds(), 10)
	}
	s.Refuse(namespace, refusal.Message, append(why, '}'))
}

// register makes a socket known to the registry: events for its user and its namespace reach it from here on.
func (r *Relay) register(socket *session.Socket, c *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone {
		r.registry.Add(socket)
		c.registered = true
	}
}

// announce makes an admitted socket known to presence, unless its token was revoked meanwhile.
func (r *Relay) announce(socket *session.Socket, c *client) {
	r.stats.Handshakes.WithLabelValues("ok").Inc()
	if r.revocations.Cover(c.socket.UserID, c) { // it came between the check of the token and the registration
		socket.Disconnect(transport.ReasonServer)
		return
	}
	r.presence.Up(socket, &c.claim)
	if c.old || c.logSeq != userlog.Unknown {
		r.logs.Look(socket)
	}
	if c.inbox {
		r.inbox.Open(socket, c)
	}
}

// Disconnected implements session.App.
func (r *Relay) Disconnected(s *session.Socket, reason transport.Reason) {
	c, ok := s.State.(*client)
	if !ok {
		return
	}
	rooms, registered := c.end()
	r.presence.Down(&c.claim) // also where it is not Up yet: then it never will be
	r.watches.End(&c.watching)
	r.inbox.Close(s)
	if registered {
		r.registry.Remove(s)
	}
	for _, room := range rooms {
		r.hub.Leave(s, room.id)
		r.rooms.Release(room.id)
	}
	r.saveEnd(c, reason)
	c.setEnded()
}
