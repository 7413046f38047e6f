package publisher

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/platform/obs"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/namespaces"
	"github.com/starling-chat/starling/proto/subject"
)

// Outbox is where events of committed transactions wait until the stream has them.
type Outbox interface {
	Erasures

	// Claim takes due rows for a while, the oldest first. Rows may come with an error about others.
	Claim(ctx context.Context, limit int) ([]chat.Outgoing, error)
	// Done deletes rows.
	Done(ctx context.Context, ids []chat.OutboxID) error
	// Lag counts the rows and tells the age of the oldest.
	Lag(ctx context.Context) (rows int, age time.Duration, err error)
}

// Publisher is usecases.Publisher on NATS.
//
//	Committed ─▶ stream ROOMS ─(republish)─▶ live subject        connected
//	                  │ publish ack                               outbox row deleted
//	                  │ refused, or silent for 1 s: live subject  outbox row stays for the relay
//	Committed ─▶ live subject                                     degraded: outbox rows stay; the stream is
//	                                                              tried every second
//
// A gateway drops what it has by room and sequence: an event may be published too often, but never not at all.
type Publisher struct {
	// Fixed at birth.
	nc     *nats.Conn
	js     jetstream.JetStream
	outbox Outbox
	cfg    Config
	log    *slog.Logger
	inbox  string // + token: where the stream answers
	acks   chan *nats.Msg
	done   chan chat.OutboxID // rows to delete
	erase  chan struct{}      // something was deleted

	// What fails for as long as PostgreSQL or the stream is away.
	unread, unusable, unerased obs.Repeats

	// Guarded by mu.
	mu       sync.Mutex
	degraded bool
	cause    error // of the degradation, until it is logged
	failures int   // in a row
	next     uint64
	waiting  map[string]*inflight // by token
	queue    []*inflight          // in the order of sending, for the timeout
}

// Config has the Publisher's choices.
type Config struct {
	Stream       StreamConfig
	RelayPause   time.Duration                     // between two looks at the outbox
	LagReport    func(rows int, age time.Duration) // called every few seconds
	Seen         func([]chat.EncodedEvent)         // called with what is published, before it is, once or more often; nil = nobody
	SkipFastPath bool                              // for tests: leave everything to the relay, as after a crash
}

// Bounds of publishing.
const (
	ackTimeout    = time.Second
	maxWaiting    = 50_000 // publications without an answer; beyond, events go live only and the relay follows
	failuresToGo  = 3      // in a row, before the stream counts as away
	probePause    = time.Second
	probeTimeout  = 3 * time.Second
	doneQueue     = 10_000 // rows to delete; beyond, they are left to the relay
	doneBatch     = 500
	donePause     = 25 * time.Millisecond
	lagPause      = 5 * time.Second
	closePatience = 2 * time.Second
)

// inflight is one chunk on its way to the stream.
type inflight struct {
	chunk wire.Chunk
	row   *inflightRow
	token string
	until time.Time
}

// inflightRow is an outbox row on its way; under the Publisher's mu.
type inflightRow struct {
	id       chat.OutboxID
	left     int
	failed   bool
	complete func(ok bool) // called under mu when left is 0; for the relay
}

// New returns a Publisher; it counts the stream as away until Run has seen it.
func New(nc *nats.Conn, outbox Outbox, cfg Config, log *slog.Logger) (*Publisher, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Publisher{
		nc: nc, js: js, outbox: outbox, cfg: cfg, log: log, degraded: true,
		inbox: nc.NewInbox() + ".", acks: make(chan *nats.Msg, maxWaiting), done: make(chan chat.OutboxID, doneQueue),
		erase:   make(chan struct{}, 1),
		waiting: map[string]*inflight{},
		unread:  obs.Repeats{Log: log, Message: "outbox not read"}, unusable: obs.Repeats{Log: log, Message: "stream not usable"},
		unerased: obs.Repeats{Log: log, Message: "deleted messages not erased from the stream, they will be"},
	}, nil
}

var _ usecases.Publisher = (*Publisher)(nil)

// Run works until ctx ends, then waits a moment for the answers that are due.
func (p *Publisher) Run(ctx context.Context) error {
	sub, err := p.nc.ChanSubscribe(p.inbox+"*", p.acks)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	work := context.WithoutCancel(ctx)
	reading, stopReading := context.WithCancel(work)
	defer stopReading()
	deleting, stopDeleting := context.WithCancel(work)
	defer stopDeleting()
	var loops, reader, deleter sync.WaitGroup
	reader.Go(func() { p.readAcks(reading) })
	deleter.Go(func() { p.deleteLoop(deleting) })
	loops.Go(func() { p.probeLoop(ctx) })
	loops.Go(func() { p.relayLoop(ctx) })
	loops.Go(func() { p.lagLoop(ctx) })
	loops.Go(func() { p.eraseLoop(ctx) })
	<-ctx.Done()
	loops.Wait()
	p.awaitAnswers()
	stopReading()
	reader.Wait() // hands its last rows to the deleter
	stopDeleting()
	deleter.Wait()
	return nil
}

// awaitAnswers waits until nothing is on its way, at most closePatience.
func (p *Publisher) awaitAnswers() {
	deadline := time.NewTimer(closePatience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for p.unanswered() > 0 {
		select {
		case <-tick.C:
		case <-deadline.C:
			return
		}
	}
}

func (p *Publisher) unanswered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// Degraded tells whether the stream counts as away.
func (p *Publisher) Degraded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.degraded
}

// Committed implements usecases.Publisher.
func (p *Publisher) Committed(out chat.Outgoing) {
	if p.cfg.SkipFastPath {
		return
	}
	p.mu.Lock()
	away := p.degraded || len(p.waiting)+len(out.Events) > maxWaiting
	p.mu.Unlock()
	if away {
		p.seen(out)
		for _, chunk := range wire.Chunks(out.Events) {
			p.publishLive(chunk)
		}
		return
	}
	p.publishRow(out, nil)
}

func (p *Publisher) seen(out chat.Outgoing) {
	if p.cfg.Seen != nil {
		p.cfg.Seen(out.Events)
	}
}

// publishRow sends the events of a row to the stream. complete is called once, with whether the stream has all of them.
func (p *Publisher) publishRow(out chat.Outgoing, complete func(ok bool)) {
	p.seen(out)
	chunks := wire.Chunks(out.Events)
	row := &inflightRow{id: out.ID, left: len(chunks), complete: complete}
	until := time.Now().Add(ackTimeout)
	for _, chunk := range chunks {
		f := &inflight{chunk: chunk, row: row, until: until}
		p.mu.Lock()
		p.next++
		f.token = strconv.FormatUint(p.next, 36)
		p.waiting[f.token] = f
		p.queue = append(p.queue, f)
		p.mu.Unlock()
		to := subject.RoomLog(string(chunk.Room))
		header := nats.Header{jetstream.MsgIDHeader: {messageID(to, chunk)}}
		if out.Trace != "" {
			header[obs.TraceHeader] = []string{out.Trace}
		}
		err := p.nc.PublishMsg(&nats.Msg{Subject: to, Reply: p.inbox + f.token, Data: chunk.Bytes, Header: header})
		if err != nil {
			p.answered(f.token, err, true)
		}
	}
}

// messageID lets the stream drop a repeat: the room's token and the sequences. A row makes the same chunks each time.
func messageID(roomLog string, chunk wire.Chunk) string {
	name := roomLog[strings.LastIndexByte(roomLog, '.')+1:]
	if _, isLog := chat.UserOf(chunk.Room); isLog {
		name = subject.RoomToken(string(chunk.Room)) // the subject is that of a shard of users
	}
	return fmt.Sprintf("%s:%d-%d", name, chunk.First, chunk.Last)
}

// readAcks takes the stream's answers, and notices those that do not come.
func (p *Publisher) readAcks(ctx context.Context) {
	tick := time.NewTicker(ackTimeout / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-p.acks:
			away, err := refusal(msg)
			p.answered(msg.Subject[len(p.inbox):], err, away)
		case now := <-tick.C:
			p.expire(now)
		}
	}
}

// refusal reads a publish ack; away tells that no stream listens at all.
func refusal(msg *nats.Msg) (away bool, err error) {
	if msg.Header.Get("Status") == "503" {
		return true, nats.ErrNoResponders
	}
	if !bytes.Contains(msg.Data, []byte(`"error"`)) {
		return false, nil
	}
	return false, &publishError{string(msg.Data)}
}

// publishError is the stream's refusal, as it wrote it.
type publishError struct{ answer string }

func (e *publishError) Error() string { return "publish refused: " + e.answer }

// answered ends the wait for one chunk. A refused one goes live at once, since the relay may take a while.
func (p *Publisher) answered(token string, err error, away bool) {
	p.mu.Lock()
	f := p.waiting[token]
	if f == nil {
		p.mu.Unlock()
		return // too late: it was given up
	}
	delete(p.waiting, token)
	f.row.left--
	if err != nil {
		f.row.failed = true
		p.failures++
		if away || p.failures >= failuresToGo {
			p.degrade(err)
		}
	} else {
		p.failures = 0
	}
	last := f.row.left == 0
	if last && f.row.complete != nil {
		f.row.complete(!f.row.failed)
	}
	p.mu.Unlock()
	if err != nil {
		p.publishLive(f.chunk)
	}
	if last && !f.row.failed {
		select {
		case p.done <- f.row.id:
		default: // the relay will publish it again, which the stream recognises
		}
	}
}

// expire gives up what has waited for longer than ackTimeout.
func (p *Publisher) expire(now time.Time) {
	p.mu.Lock()
	var late []string
	i := 0
	for ; i < len(p.queue); i++ {
		f := p.queue[i]
		if p.waiting[f.token] == nil {
			continue
		}
		if now.Before(f.until) {
			break
		}
		late = append(late, f.token)
	}
	p.queue = append(p.queue[:0], p.queue[i:]...)
	p.mu.Unlock()
	for _, token := range late {
		p.answered(token, context.DeadlineExceeded, false)
	}
}

// degrade needs mu. probeLoop says so in the log.
func (p *Publisher) degrade(cause error) { p.degraded, p.cause = true, cause }

// probeLoop looks for the stream while it counts as away, and makes it where it is missing.
func (p *Publisher) probeLoop(ctx context.Context) {
	tick := time.NewTicker(probePause)
	defer tick.Stop()
	for {
		p.mu.Lock()
		degraded, cause := p.degraded, p.cause
		p.cause = nil
		p.mu.Unlock()
		if cause != nil {
			p.log.LogAttrs(ctx, slog.LevelWarn, "stream away, publishing live only", slog.Any("error", cause))
		}
		if degraded && p.nc.IsConnected() {
			p.probe(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Publisher) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := ensureStream(ctx, p.js, p.cfg.Stream); err != nil {
		p.unusable.Failed(ctx, err)
		return
	}
	p.unusable.Over(ctx)
	p.mu.Lock()
	p.degraded, p.failures = false, 0
	p.mu.Unlock()
	p.log.LogAttrs(ctx, slog.LevelInfo, "stream usable")
}

// publishLive sends durable events without a position in the stream. An error means that NATS is away: the relay
// brings the events when it is back.
func (p *Publisher) publishLive(chunk wire.Chunk) {
	_ = p.nc.Publish(subject.Room(string(chunk.Room)), chunk.Bytes)
}

// Ephemeral implements usecases.Publisher.
func (p *Publisher) Ephemeral(event chat.RoomEvent) error {
	e, err := wire.Encode(event)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: subject.Room(string(event.Room)), Data: wire.Batch([]chat.EncodedEvent{e})}
	if event.Trace != "" {
		msg.Header = nats.Header{obs.TraceHeader: {event.Trace}}
	}
	return p.nc.PublishMsg(msg)
}

// Broadcast implements usecases.Publisher.
func (p *Publisher) Broadcast(namespace string, emit chat.Emit, exceptSocket string) error {
	return p.publish(subject.Broadcast(namespace), &eventv1.Broadcast{
		Namespace:      namespace,
		Emit:           &eventv1.Emit{Event: emit.Event, Args: emit.Args, Attachments: emit.Attachments},
		ExceptSocketId: exceptSocket,
	})
}

// Notified implements usecases.Publisher.
func (p *Publisher) Notified(n usecases.Notification) error {
	return p.publish(subject.User(string(n.User)), &eventv1.UserEvent{
		UserId: string(n.User), Namespace: namespaces.Notifications, Emit: wire.NotificationEmit(n),
	})
}

// NotificationsRead implements usecases.Publisher.
func (p *Publisher) NotificationsRead(read usecases.NotificationsRead, unread int, exceptSocket string) error {
	return p.publish(subject.User(string(read.User)), &eventv1.UserEvent{
		UserId: string(read.User), Namespace: namespaces.Notifications, Emit: wire.NotificationsReadEmit(read.IDs, unread),
		ExceptSocketId: exceptSocket,
	})
}

func (p *Publisher) publish(to string, m proto.Message) error {
	raw, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return p.nc.Publish(to, raw)
}
