package eventserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// ErrNotRepeatable is what a route returns for a repeat (Request.Attempt > 0) that cannot be done again without harm, and of which
// it does not know what became. The repeat is left unanswered then, because only the first attempt can tell.
var ErrNotRepeatable = errors.New("the request cannot be repeated")

// Request is one client event. It is not changed once a route has it.
type Request struct {
	Namespace string // of Socket.IO: "/", "/chat"
	Event     string
	// Args is the JSON array of the arguments after the event's name, as the client wrote them; Arg reads one.
	Args        []byte
	Attachments [][]byte // binary arguments, to which {"_placeholder":true,"num":0} in Args points
	User        User     // who asks, as the access token says
	SocketID    string
	GatewayID   string
	ReceivedAt  time.Time // by the gateway; zero = not said
	Deadline    time.Time // of what is done: the gateway gives the event up then, or later, and the client may do another thing
	// Grace is for how long after Deadline the answer is waited for, of what was begun before: more than 0 only for events that are
	// OneAtATime, of which another attempt follows at the Deadline.
	Grace time.Duration
	// Attempt is how often the gateway has asked before without an answer. When it is > 0, another replica may be at it, or may
	// have done it.
	Attempt uint32
	// Trace is the traceparent of the request's span, for what is done for it elsewhere; "" = the request is not traced.
	Trace string

	// Fixed at birth; for the Server.
	route *Route
	in    *batch
	index int // in the batch
	span  *obs.Span

	answered atomic.Bool
}

// User is who sent an event.
type User struct {
	ID   string
	Name string
	Role string
	// NameVersion tells which of two names of the user is the present one: that with the larger version.
	NameVersion int64
	// Rooms are what the user's token says that it opens; nil for most tokens.
	Rooms []*eventv1.RoomGrant
}

// newRequest makes the request of the first event in a batch.
func newRequest(route *Route, in *batch, e *eventv1.ClientEvent) *Request {
	who := e.GetIdentity()
	return &Request{
		Namespace: e.GetNamespace(), Event: route.Event, Args: e.GetArgs(), Attachments: e.GetAttachments(),
		User:     User{ID: who.GetUserId(), Name: who.GetName(), Role: who.GetRole(), NameVersion: who.GetNameVersion(), Rooms: who.GetRooms()},
		SocketID: e.GetSocketId(), GatewayID: e.GetGatewayId(), ReceivedAt: timeOf(e.GetReceivedAt()), Deadline: in.deadline, Grace: in.grace,
		Attempt: e.GetAttempt(), route: route, in: in,
	}
}

// following makes the request of an event that shares all but m with r.
func (r *Request) following(index int, m *eventv1.FollowingEvent) *Request {
	return &Request{
		Namespace: r.Namespace, Event: r.Event, Args: m.GetArgs(), Attachments: m.GetAttachments(), User: r.User,
		SocketID: r.SocketID, GatewayID: r.GatewayID, ReceivedAt: timeOf(m.GetReceivedAt()), Deadline: r.Deadline, Grace: r.Grace,
		Attempt: r.Attempt, route: r.route, in: r.in, index: index,
	}
}

func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// Arg decodes argument i (from 0) as encoding/json does, but takes 5.0 and 5e0 for an integer too, as clients of some languages write
// it. A missing argument and one of another type are refused as invalid.
func (r *Request) Arg(i int, into any) error {
	var args []json.RawMessage
	if json.Unmarshal(r.Args, &args) != nil || i >= len(args) {
		return fault.Newf(fault.Invalid, "argument %d is missing", i+1)
	}
	err := json.Unmarshal(args[i], into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && strings.HasPrefix(wrong.Value, "number") {
		err = json.Unmarshal(rawjson.PlainWhole(args[i]), into)
	}
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return fault.Newf(fault.Invalid, "%s has the wrong type", wrong.Field)
	case err != nil:
		return fault.Newf(fault.Invalid, "argument %d has the wrong type", i+1)
	}
	return nil
}

// Reply is the answer to a Request; nil stands for [{"ok":true}].
type Reply struct {
	Args        []byte   // of the ack, a JSON array such as [{"ok":true}]
	Attachments [][]byte // binary arguments of the ack
	Emits       []Emit   // events for the sender's socket only, which it gets before the ack
}

// Emit is one event for clients.
type Emit struct {
	Event       string
	Args        []byte // a JSON array
	Attachments [][]byte
}

// Ack makes the reply { ok: true, …fields }, where fields becomes a JSON object: a struct or a map. Ack(nil) is { ok: true }.
func Ack(fields any) (*Reply, error) {
	raw, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode ack: %w", err)
	}
	switch {
	case string(raw) == "null" || string(raw) == "{}":
		return &Reply{Args: []byte(plainOK)}, nil
	case raw[0] != '{':
		return nil, fmt.Errorf("encode ack: %T is no JSON object", fields)
	}
	args := append(make([]byte, 0, len(raw)+len(`[{"ok":true,]`)), `[{"ok":true,`...)
	return &Reply{Args: append(append(args, raw[1:]...), ']')}, nil
}

// plainOK is the ack that says nothing else.
const plainOK = `[{"ok":true}]`

func (r *Reply) toProto() *eventv1.ClientReply {
	if r == nil {
		return &eventv1.ClientReply{AckArgs: []byte(plainOK)}
	}
	reply := &eventv1.ClientReply{AckArgs: r.Args, Attachments: r.Attachments}
	for _, e := range r.Emits {
		reply.Emits = append(reply.Emits, &eventv1.Emit{Event: e.Event, Args: e.Args, Attachments: e.Attachments})
	}
	return reply
}
