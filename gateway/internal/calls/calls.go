package calls

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/services"
	"github.com/starling-chat/starling/gateway/internal/stats"
	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// Request is client events of one name that go to a service together.
type Request interface {
	Subject() string
	// Len is how many events there are.
	Len() int
	// Encode makes the ClientEvent, with room for so many bytes more.
	Encode(room int) []byte
	// Gone tells that nobody waits for an answer any more.
	Gone() bool
	// Answered takes the service's reply, and Failed the fault of a request that no service answered; owner is by whom it is
	// counted. One of the two is called, once. What is queued to a conn is flushed by flush.
	Answered(reply *eventv1.ClientReply, flush Flush)
	Failed(owner string, f *fault.Error, flush Flush)
}

// Flush writes what is queued to a conn, now or with the end of a batch.
type Flush func(transport.Conn)

// Now is the Flush of answers that come alone.
func Now(c transport.Conn) { c.Flush() }

// RetryAfter is what clients are told when a part is away.
const RetryAfter = time.Second

// Config bounds the requests.
type Config struct {
	MaxInFlight int           // requests that wait for a service
	Timeout     time.Duration // for a service to answer; a request that may be repeated goes out again within it
}

// Calls are the requests that wait for a service's reply. One subscription takes in all replies, so that an event in flight costs
// a map entry and no goroutine.
type Calls struct {
	// Fixed at birth.
	cfg     Config
	nc      *nats.Conn
	catalog *services.Catalog
	stats   *stats.Stats
	log     *slog.Logger
	inbox   bus.Inbox
	replies chan *nats.Msg

	nextID atomic.Uint64
	count  atomic.Int64 // of open calls
	shards [callShards]callShard

	budget int // of repeats; owned by Run
}

const (
	callShards = 16
	// replyBuffer is how many replies may wait to be handed out; one that overflows is a timeout for its client.
	replyBuffer = 32768
)

type callShard struct {
	mu   sync.Mutex // guards open
	open map[uint64]call
}

// call is one request that is not answered; the mutex of its shard guards it.
type call struct {
	// Fixed when it is started.
	request  Request
	deadline time.Time

	span        *obs.Span // nil: it is not traced
	payload     []byte    // kept while the request may be sent again
	again       time.Time // when it is sent again; zero: not
	attempts    uint32    // made
	answered    uint32    // of them
	notExecuted uint32    // of those: nothing of it was done
	oneAtATime  bool      // an attempt may be begun until again, and no longer
	latest      bool      // the latest attempt is answered
	// reply is the best that the answers so far say about each event. It is final only while the call is held.
	reply *eventv1.ClientReply
}

// New makes Calls; Run gives out the replies.
func New(cfg Config, nc *nats.Conn, catalog *services.Catalog, st *stats.Stats, log *slog.Logger) *Calls {
	c := &Calls{
		cfg: cfg, nc: nc, catalog: catalog, stats: st, log: log,
		inbox: bus.NewInbox(nc), replies: make(chan *nats.Msg, replyBuffer), budget: repeatBudget,
	}
	for i := range c.shards {
		c.shards[i].open = make(map[uint64]call)
	}
	return c
}

// Subscribe has replies come in, until the subscription ends.
func (c *Calls) Subscribe() (*nats.Subscription, error) {
	return c.nc.ChanSubscribe(c.inbox.Subject(), c.replies)
}

// Count tells how many requests wait for a reply.
func (c *Calls) Count() int { return int(c.count.Load()) }

// Start publishes a request that is to be answered within left, or is given up with the next Tick.
func (c *Calls) Start(r Request, left time.Duration) {
	if c.count.Add(1) > int64(c.cfg.MaxInFlight) {
		c.count.Add(-1)
		r.Failed("none", fault.Retry(fault.Unavailable, "The gateway is overloaded", RetryAfter), Now)
		return
	}
	now, subj := time.Now(), r.Subject()
	w := call{request: r, deadline: now.Add(left), attempts: 1}
	repeats, oneAtATime := c.catalog.Repeats(subj)
	heard, room := c.catalog.Heard(subj), patienceSize
	if oneAtATime {
		room += patienceSize
	}
	payload := appendPatience(r.Encode(len(heard)+room), heard, w.deadline)
	if obs.Traced() {
		_, w.span = obs.StartSpan(context.Background(), obs.Asking, "client event "+subj, "") //nolint:forbidigo // a client event begins its trace
		w.span.Note("starling.events", r.Len())
	}
	if repeats {
		w.again = now.Add(left / maxAttempts)
		if oneAtATime {
			w.oneAtATime, w.again = true, c.nextAttempt(&w, now)
			payload = appendBegin(payload, w.again)
		}
		w.payload = payload
	}
	id := c.nextID.Add(1)
	sh := c.shard(id)
	sh.mu.Lock()
	sh.open[id] = w
	sh.mu.Unlock()
	if err := c.publish(replyTo(id, w.attempts), subj, payload, w.span); err != nil {
		if _, ok := c.remove(id); ok {
			w.span.End(string(fault.Unavailable))
			r.Failed("none", fault.Retry(fault.Unavailable, "Service unavailable", RetryAfter), Now)
		}
	}
}

func (c *Calls) shard(id uint64) *callShard { return &c.shards[id%callShards] }

// publish sends an attempt; its reply goes to the inbox under the number to.
func (c *Calls) publish(to uint64, subj string, payload []byte, span *obs.Span) error {
	if span == nil {
		return c.nc.PublishRequest(subj, c.inbox.Reply(to), payload)
	}
	return c.nc.PublishMsg(&nats.Msg{
		Subject: subj, Reply: c.inbox.Reply(to), Data: payload, Header: nats.Header{obs.TraceHeader: {span.Parent()}},
	})
}

// remove gives up a call and gives it, unless it has ended.
func (c *Calls) remove(id uint64) (call, bool) {
	sh := c.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	found, ok := sh.open[id]
	if ok {
		delete(sh.open, id)
		c.count.Add(-1)
	}
	return found, ok
}

// Tick is the time between two looks for calls that wait for too long: a call that gets no reply ends within Tick of its deadline.
const Tick = 100 * time.Millisecond

// batch is how many messages are handled between two flushes, when so many wait.
const batch = 256

// Run hands out replies and ends calls that wait too long, until ctx ends.
func (c *Calls) Run(ctx context.Context) error {
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	var flushes transport.FlushSet
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			c.expire(now, &flushes)
		case msg := <-c.replies:
			c.reply(ctx, msg, &flushes)
			for range min(len(c.replies), batch) {
				c.reply(ctx, <-c.replies, &flushes)
			}
		}
		flushes.Flush()
	}
}

func (c *Calls) reply(ctx context.Context, msg *nats.Msg, flushes *transport.FlushSet) {
	to, ok := c.inbox.Request(msg.Subject)
	if !ok {
		return
	}
	var reply eventv1.ClientReply
	absent := len(msg.Data) == 0 && msg.Header.Get("Status") == "503"
	if absent {
		reply.Fault = fault.Retry(fault.Unavailable, "Service unavailable", RetryAfter).ToProto()
	} else if err := proto.Unmarshal(msg.Data, &reply); err != nil {
		reply.Reset()
		reply.Fault = fault.Log(ctx, c.log, fmt.Errorf("decode reply: %w", err)).ToProto()
	}
	found, ok := c.complete(to, &reply, absent)
	switch {
	case !ok: // answered late, after the timeout; or not the last word
	case absent && found.answered == 1:
		found.span.End(string(fault.Unavailable))
		found.request.Failed("none", c.catalog.Missing(found.request.Subject()), flushes.Add)
	default:
		if !absent {
			c.earnRepeat()
		}
		found.answer(flushes)
	}
}

// answer ends a call with the reply that there is.
func (w *call) answer(flushes *transport.FlushSet) {
	w.span.End(w.reply.GetFault().GetCode())
	w.request.Answered(w.reply, flushes.Add)
}

// timeOut answers a call whose time is over with what is known of each event.
func (c *Calls) timeOut(w call, flushes *transport.FlushSet) {
	unknown := fault.Retry(fault.Timeout, "No answer in time", RetryAfter)
	w.span.End(string(fault.Timeout))
	switch {
	case w.reply == nil:
		w.request.Failed("", unknown, flushes.Add)
	case w.answered == w.attempts:
		w.request.Answered(w.reply, flushes.Add)
	default:
		silence := &eventv1.ClientReply{Fault: unknown.ToProto()} // of the attempts that are out
		w.request.Answered(services.Merge(w.reply, silence, w.request.Len()), flushes.Add)
	}
}
