package cluster

import (
	"bytes"
	"log/slog"
	"sync"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
	"github.com/starling-chat/starling/gateway/internal/transport"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
)

// emits are the events whose acks this gateway waits for. All sockets of one emit get the same ack id, so that the event is
// encoded once. An ack counts once for each socket that was asked, until the deadline.
type emits struct {
	mu      sync.Mutex // guards what follows
	nextID  int64
	open    map[int64]*openEmit
	waiting int // sockets of all of them
}

// openEmit is one of them; emits.mu guards it.
type openEmit struct {
	reply    string // where the acks go
	deadline time.Time
	waiting  map[*session.Socket]struct{} // have not acknowledged
	acks     []*clusterv1.SocketAck       // not sent yet
	size     int                          // of acks, in bytes
}

const (
	maxOpenEmits = 4096      // emits with acks of all callers; more are refused as overload
	maxAwaited   = 1 << 20   // sockets of all of them
	ackBatch     = 256 << 10 // bytes in one answer, about
)

// emit sends an event to sockets, and expects their acks when the caller wants them.
func (c *Cluster) emit(reply string, op *clusterv1.Operation, act *clusterv1.EmitAct, sockets []*session.Socket, flushes *transport.FlushSet) *clusterv1.Answer {
	id := int64(0)
	if act.GetAck() && len(sockets) > 0 {
		var ok bool
		id, ok = c.emits.begin(reply, time.Now().Add(time.Duration(op.GetTimeoutMs())*time.Millisecond), sockets)
		if !ok {
			return &clusterv1.Answer{Overloaded: true}
		}
	}
	e := act.GetEmit()
	m, err := session.Emit{
		Namespace: op.GetTarget().GetNamespace(), Event: e.GetEvent(), Args: e.GetArgs(), Attachments: e.GetAttachments(),
		AckID: id, Volatile: act.GetVolatile(),
	}.Encode()
	if err != nil { // the asking gateway has looked
		c.log.Error("event cannot be encoded", slog.String("event", e.GetEvent()), slog.Any("error", err))
		sockets = nil
	}
	sent := 0
	for _, s := range sockets {
		if !s.Queue(m) {
			c.emits.cancel(id, s)
			continue
		}
		sent++
		c.stats.EventsOut.Inc()
		flushes.Add(s.Conn())
	}
	return &clusterv1.Answer{Sockets: uint32(sent)}
}

// begin returns an ack id for sockets that are to be asked; ok is false when too many acks are awaited already.
func (e *emits) begin(reply string, deadline time.Time, sockets []*session.Socket) (id int64, ok bool) {
	waiting := make(map[*session.Socket]struct{}, len(sockets))
	for _, s := range sockets {
		waiting[s] = struct{}{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.open) >= maxOpenEmits || e.waiting+len(waiting) > maxAwaited {
		return 0, false
	}
	e.nextID++
	e.open[e.nextID] = &openEmit{reply: reply, deadline: deadline, waiting: waiting}
	e.waiting += len(waiting)
	return e.nextID, true
}

// cancel takes back that a socket was asked: its conn is closed.
func (e *emits) cancel(id int64, s *session.Socket) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o := e.open[id]; o != nil {
		e.answeredLocked(id, o, s)
	}
}

// answeredLocked notes that a socket is not waited for any more; it reports whether the socket was waited for.
func (e *emits) answeredLocked(id int64, o *openEmit, s *session.Socket) bool {
	if _, asked := o.waiting[s]; !asked {
		return false
	}
	delete(o.waiting, s)
	e.waiting--
	if len(o.waiting) == 0 && len(o.acks) == 0 {
		delete(e.open, id)
	}
	return true
}

// acked notes an ack. It returns an answer when one has to go at once, because all sockets have answered or many bytes wait.
func (e *emits) acked(s *session.Socket, id int64, args []byte, attachments [][]byte, maxBytes int) (to string, a *clusterv1.Answer) {
	size := len(args)
	for _, b := range attachments {
		size += len(b)
	}
	ack := &clusterv1.SocketAck{SocketId: s.ID, UserId: s.UserID}
	if size <= maxBytes {
		ack.Args = bytes.Clone(args) // valid during the call only
		for _, b := range attachments {
			ack.Attachments = append(ack.Attachments, bytes.Clone(b))
		}
	} else {
		ack.Truncated, size = true, 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	o := e.open[id]
	if o == nil {
		return "", nil
	}
	o.acks = append(o.acks, ack)
	if !e.answeredLocked(id, o, s) {
		o.acks = o.acks[:len(o.acks)-1]
		return "", nil
	}
	o.size += size + bareReply
	if len(o.waiting) > 0 && o.size < ackBatch {
		return "", nil
	}
	if len(o.waiting) == 0 {
		delete(e.open, id)
	}
	return o.reply, o.drain()
}

// drain returns the acks that wait as an answer, and forgets them.
func (o *openEmit) drain() *clusterv1.Answer {
	a := &clusterv1.Answer{Continued: true, Acks: o.acks}
	o.acks, o.size = nil, 0
	return a
}

// flush sends the acks that wait, and forgets the emits whose time is over.
func (e *emits) flush(now time.Time, send func(to string, a *clusterv1.Answer)) {
	type due struct {
		to string
		a  *clusterv1.Answer
	}
	var list []due
	e.mu.Lock()
	for id, o := range e.open {
		if len(o.acks) > 0 {
			list = append(list, due{o.reply, o.drain()})
		}
		if len(o.waiting) == 0 || now.After(o.deadline) {
			e.waiting -= len(o.waiting)
			delete(e.open, id)
		}
	}
	e.mu.Unlock()
	for _, d := range list {
		send(d.to, d.a)
	}
}
