package relay

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/hub"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// calls are the client events that wait for a service's reply. One subscription takes in all replies, so that an event in
// flight costs a map entry and no goroutine.
type calls struct {
	relay   *Relay
	inbox   string
	replies chan *nats.Msg
	nextID  atomic.Uint64
	count   atomic.Int64
	shards  [callShards]callShard
}

const (
	callShards = 16
	// replyBuffer is how many replies may wait to be handed out; one that overflows is a timeout for its client.
	replyBuffer = 32768
)

type callShard struct {
	mu      sync.Mutex // guards waiting
	waiting map[uint64]call
}

type call struct {
	client   *client
	pending  *pending
	deadline time.Time
}

func newCalls(r *Relay) *calls {
	c := &calls{relay: r, inbox: r.nc.NewInbox(), replies: make(chan *nats.Msg, replyBuffer)}
	for i := range c.shards {
		c.shards[i].waiting = make(map[uint64]call)
	}
	return c
}

// start publishes an event as a request.
func (c *calls) start(cl *client, p *pending) {
	r := c.relay
	if c.count.Load() >= int64(r.cfg.MaxInFlight) {
		r.failed(cl, p, fault.Retry(fault.Unavailable, "The gateway is overloaded", time.Second), flushNow)
		return
	}
	id := c.nextID.Add(1)
	sh := &c.shards[id%callShards]
	sh.mu.Lock()
	sh.waiting[id] = call{client: cl, pending: p, deadline: time.Now().Add(r.cfg.EventTimeout)}
	sh.mu.Unlock()
	c.count.Add(1)
	if err := r.nc.PublishRequest(p.subject, c.inbox+"."+strconv.FormatUint(id, 36), p.payload); err != nil {
		if _, ok := c.take(id); ok {
			r.count(p, "none", fault.Unavailable)
			r.failed(cl, p, fault.Retry(fault.Unavailable, "Service unavailable", time.Second), flushNow)
		}
		return
	}
	p.payload = nil
}

func (c *calls) take(id uint64) (call, bool) {
	sh := &c.shards[id%callShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	found, ok := sh.waiting[id]
	if ok {
		delete(sh.waiting, id)
		c.count.Add(-1)
	}
	return found, ok
}

// batch is how many messages are handled between two flushes, when so many wait.
const batch = 256

// run hands out replies and ends calls that wait too long.
func (c *calls) run(ctx context.Context) error {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	var dirty hub.Dirty
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			c.expire(now, &dirty)
		case msg := <-c.replies:
			c.reply(msg, &dirty)
			for range min(len(c.replies), batch) {
				c.reply(<-c.replies, &dirty)
			}
		}
		dirty.Flush()
	}
}

func (c *calls) reply(msg *nats.Msg, dirty *hub.Dirty) {
	r := c.relay
	id, err := strconv.ParseUint(msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:], 36, 64)
	if err != nil {
		return
	}
	found, ok := c.take(id)
	if !ok {
		return // answered late, after the timeout
	}
	if len(msg.Data) == 0 && msg.Header.Get("Status") == "503" {
		f := r.catalog.missing(found.pending.subject)
		r.count(found.pending, "none", f.Kind)
		r.failed(found.client, found.pending, f, dirty.Add)
		return
	}
	var reply eventv1.ClientReply
	if err := proto.Unmarshal(msg.Data, &reply); err != nil {
		r.log.Error("reply cannot be decoded", slog.String("event", found.pending.event), slog.Any("error", err))
		r.failed(found.client, found.pending, fault.New(fault.Internal, "Internal error"), dirty.Add)
		return
	}
	r.count(found.pending, "", fault.Kind(reply.GetFault().GetCode()))
	r.answered(found.client, found.pending, &reply, dirty.Add)
}

// count counts an answered event by the service that owns it.
func (r *Relay) count(p *pending, service string, kind fault.Kind) {
	result := string(kind)
	if result == "" {
		result = "ok"
	}
	if service == "" {
		service = r.catalog.owner(p.subject)
	}
	r.stats.ClientEvents.WithLabelValues(service, result).Inc()
}

func (c *calls) expire(now time.Time, dirty *hub.Dirty) {
	for i := range c.shards {
		sh := &c.shards[i]
		var late []call
		sh.mu.Lock()
		for id, w := range sh.waiting {
			if now.After(w.deadline) {
				late = append(late, w)
				delete(sh.waiting, id)
				c.count.Add(-1)
			}
		}
		sh.mu.Unlock()
		for _, w := range late {
			c.relay.count(w.pending, "", fault.Timeout)
			c.relay.failed(w.client, w.pending, fault.New(fault.Timeout, "No answer in time"), dirty.Add)
		}
	}
}
