package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/engineio"
	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// Config is what the peers of a gateway need from the rest of it.
type Config struct {
	// Gateway is the id of this gateway.
	Gateway string
	// Takeover ends the socket with a private id, because its client came back elsewhere; done is called once everything in
	// this gateway knows. Takeover must not block.
	Takeover func(pid string, done func())
	// Resumed gives the end of the last stall of this process, zero when there was none.
	Resumed func(now time.Time) time.Time
	// SendQueue is how many bytes may wait for a client whose WebSocket another gateway carries; 0 = 256 KiB.
	SendQueue int
	// LetGo ends a session of this gateway as soon as nothing of it is under way: the gateway that carries its WebSocket goes away.
	// It returns when that is done, or ctx ends.
	LetGo func(ctx context.Context, sid string)
	// Strangers make room where this gateway is full: clients among them whose WebSockets it carries. nil: they do not.
	Strangers *transport.Strangers
}

// Peers passes polling requests and WebSockets on to the gateways that have their sessions, and answers those gateways.
type Peers struct {
	// Fixed at birth.
	cfg      Config
	nc       *nats.Conn
	sessions *session.Server
	log      *slog.Logger

	inbox   chan *nats.Msg     // what other gateways send; Run reads it
	polls   chan struct{}      // tokens of polls being answered for other gateways
	tasks   sync.WaitGroup     // polls being answered, keepalives, the ends of tunnels
	life    context.Context    // ends with Run, for what tunnels ask
	endLife context.CancelFunc // ends it

	mu      sync.Mutex                    // guards what follows
	cancels map[string]context.CancelFunc // of polls being answered, by their ids
	tunnels map[string]*tunnel
	carried int // of the tunnels: this gateway is the carrier
}

const (
	// peerBuffer is how many messages of other gateways may wait: the full windows of a thousand tunnels. What overflows is lost:
	// a hole ends its tunnel.
	peerBuffer = 65536
	// maxPeerPolls is how many polls are answered for other gateways at once. More are refused with 503.
	maxPeerPolls  = 20000
	pollOverhead  = 1024             // bytes of a PollReply beside the body, at most
	pollMargin    = 2 * time.Second  // for the answer to a GET, beyond its hold
	postTimeout   = 10 * time.Second // a POST may be held back while the session's events wait
	tunnelTimeout = 2 * time.Second  // for the owner's answer to the opening of a tunnel

	defaultSendQueue = 256 << 10
)

// New makes the peers of a gateway; Run brings them to life.
func New(cfg Config, nc *nats.Conn, sessions *session.Server, log *slog.Logger) *Peers {
	cfg.SendQueue = cmp.Or(cfg.SendQueue, defaultSendQueue)
	life, endLife := context.WithCancel(context.Background()) //nolint:forbidigo // Run ends it
	return &Peers{
		cfg: cfg, nc: nc, sessions: sessions, log: log, life: life, endLife: endLife,
		inbox: make(chan *nats.Msg, peerBuffer), polls: make(chan struct{}, maxPeerPolls),
		cancels: make(map[string]context.CancelFunc), tunnels: make(map[string]*tunnel),
	}
}

// Poll has another gateway answer a polling request of one of its sessions. When the answer is lost, because
// NATS or the session's gateway went away, Poll returns an error soon after the hold. The packets of the answer are lost to the
// session, so its client has to come back and recover.
func (p *Peers) Poll(ctx context.Context, gateway string, r session.PollRequest) (session.PollResponse, error) {
	id := session.NewID()
	timeout := postTimeout
	if r.Method == http.MethodGet {
		timeout = r.Hold + pollMargin
	}
	poll := &enginev1.Poll{
		Id: id, Sid: r.Query.SID, Method: r.Method, Transport: r.Query.Transport, ContentType: r.ContentType, Body: r.Body,
		HoldMs: uint32(r.Hold / time.Millisecond), //nolint:gosec // the edge's, seconds
	}
	raw, err := proto.Marshal(&enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Poll{Poll: poll}})
	if err != nil {
		return session.PollResponse{}, fmt.Errorf("encode a poll: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if r.Method == http.MethodPost {
		watch := time.AfterFunc(gatewayInterval, func() { p.giveUpWhenGone(wait, cancel, gateway) })
		defer watch.Stop()
	}
	msg, err := p.nc.RequestWithContext(wait, subject.Engine(gateway), raw)
	if err != nil {
		if ctx.Err() != nil {
			p.send(gateway, &enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Cancel{Cancel: &enginev1.PollCancel{Id: id}}})
		}
		return session.PollResponse{}, fmt.Errorf("ask the session's gateway: %w", err)
	}
	var reply enginev1.PollReply
	if err := proto.Unmarshal(msg.Data, &reply); err != nil {
		return session.PollResponse{}, fmt.Errorf("decode a poll's answer: %w", err)
	}
	return session.PollResponse{Status: int(reply.GetStatus()), ContentType: reply.GetContentType(), Body: reply.GetBody()}, nil
}

// send publishes a message to another gateway. The counts and keepalives of tunnels find out when one is lost.
func (p *Peers) send(gateway string, m *enginev1.EngineMessage) {
	raw, err := proto.Marshal(m)
	if err == nil {
		err = p.nc.Publish(subject.Engine(gateway), raw)
	}
	if err != nil {
		p.log.Debug("message to another gateway not sent", slog.Any("error", err))
	}
}

// Run takes in what other gateways send, until ctx ends; then it closes the tunnels. Messages of tunnels are handled in order by
// Run itself, and none of that blocks; polls wait for packets, so each gets a goroutine.
func (p *Peers) Run(ctx context.Context) error {
	sub, err := p.nc.ChanSubscribe(subject.Engine(p.cfg.Gateway), p.inbox)
	if err != nil {
		return fmt.Errorf("subscribe for other gateways: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection is closed next
	defer p.tasks.Wait()
	defer p.endLife()
	answering, stop := context.WithCancel(ctx)
	defer stop()
	p.tasks.Go(func() { p.keepTunnels(answering) })
	for {
		select {
		case <-ctx.Done():
			p.closeTunnels()
			return ctx.Err()
		case msg := <-p.inbox:
			var m enginev1.EngineMessage
			if err := proto.Unmarshal(msg.Data, &m); err != nil {
				p.log.WarnContext(ctx, "message of another gateway cannot be decoded", slog.Any("error", err))
				continue
			}
			if poll := m.GetPoll(); poll != nil {
				p.answerPoll(answering, msg, poll)
				continue
			}
			p.received(msg, &m)
		}
	}
}

// received handles every message but a poll.
func (p *Peers) received(msg *nats.Msg, m *enginev1.EngineMessage) {
	switch kind := m.GetKind().(type) {
	case *enginev1.EngineMessage_Cancel:
		p.mu.Lock()
		cancel := p.cancels[kind.Cancel.GetId()]
		p.mu.Unlock()
		if cancel != nil {
			cancel()
		}
	case *enginev1.EngineMessage_Open:
		p.acceptTunnel(msg, kind.Open)
	case *enginev1.EngineMessage_Data:
		p.tunnelData(kind.Data)
	case *enginev1.EngineMessage_Close:
		t := p.tunnel(kind.Close.GetTunnel())
		switch {
		case t == nil:
		case kind.Close.GetWhenIdle() && t.owner != nil:
			p.tasks.Go(func() { p.cfg.LetGo(p.life, t.sid) })
		default:
			t.peerClosed(transport.Code(kind.Close.GetCode()), transport.Reason(kind.Close.GetReason())) //nolint:gosec // our own codes
		}
	case *enginev1.EngineMessage_Flow:
		if t := p.tunnel(kind.Flow.GetTunnel()); t != nil {
			t.setFlow(kind.Flow)
		}
	case *enginev1.EngineMessage_Keepalive:
		p.answerKeepalive(msg, kind.Keepalive)
	case *enginev1.EngineMessage_Arriving:
		p.arrives(kind.Arriving)
	case *enginev1.EngineMessage_Takeover:
		p.cfg.Takeover(kind.Takeover.GetPid(), func() { _ = msg.Respond(nil) }) // the other end goes on without
	}
}

// answerPoll answers a polling request that came to another gateway.
func (p *Peers) answerPoll(ctx context.Context, msg *nats.Msg, poll *enginev1.Poll) {
	select {
	case p.polls <- struct{}{}:
	default:
		p.replyPoll(msg, session.PollResponse{Status: http.StatusServiceUnavailable})
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	p.mu.Lock()
	p.cancels[poll.GetId()] = cancel
	p.mu.Unlock()
	p.tasks.Go(func() {
		defer func() {
			cancel()
			p.mu.Lock()
			delete(p.cancels, poll.GetId())
			p.mu.Unlock()
			<-p.polls
		}()
		answer := p.sessions.Poll(ctx, session.PollRequest{
			Method: poll.GetMethod(), ContentType: poll.GetContentType(), Body: poll.GetBody(),
			Hold:  time.Duration(poll.GetHoldMs()) * time.Millisecond,
			Query: engineio.Query{Transport: poll.GetTransport(), SID: poll.GetSid()},
		})
		if int64(len(answer.Body)) > p.nc.MaxPayload()-pollOverhead {
			// What cannot be passed on is lost: the session ends, and its client comes back and recovers.
			p.log.WarnContext(ctx, "answer to a poll is over NATS's max_payload", slog.Int("bytes", len(answer.Body)))
			p.sessions.End(poll.GetSid(), transport.ReasonTooBig)
			answer = session.Refusal(engineio.ErrUnknownSession)
		}
		p.replyPoll(msg, answer)
	})
}

// replyPoll sends the answer to a poll back to the gateway that it came from.
func (p *Peers) replyPoll(msg *nats.Msg, r session.PollResponse) {
	raw, err := proto.Marshal(&enginev1.PollReply{Status: int32(r.Status), ContentType: r.ContentType, Body: r.Body}) //nolint:gosec // an HTTP status
	if err == nil {
		err = msg.Respond(raw)
	}
	if err != nil {
		p.log.Debug("poll not answered", slog.Any("error", err))
	}
}

var errNoTunnel = errors.New("the session's gateway does not answer")
