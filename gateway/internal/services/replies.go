package services

import (
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// A request may have several replies, one for each attempt, and each tells about each of its events. What they say together
// about one event, from the most certain to the least:
//
//	done, or refused for good   whatever the others say
//	timeout                     some attempt may have done it
//	unavailable                 no attempt has done it
type certainty int

const (
	notDone certainty = iota
	perhaps
	final
)

// certaintyOf tells how much a reply says about its first event.
func certaintyOf(reply *eventv1.ClientReply) certainty {
	switch reply.GetFault().GetCode() {
	case string(fault.Unavailable):
		return notDone
	case string(fault.Timeout):
		return perhaps
	}
	return final
}

// ReplyAt is what a reply says about event i of a request; a fault of the request as a whole is every event's.
func ReplyAt(reply *eventv1.ClientReply, i int) *eventv1.ClientReply {
	switch {
	case i == 0:
		return reply
	case i <= len(reply.GetMore()):
		return reply.GetMore()[i-1]
	case reply.GetFault() != nil:
		return &eventv1.ClientReply{Fault: reply.GetFault()}
	}
	// The service announced what it does not do. The fault gets its id where the client is answered.
	return &eventv1.ClientReply{Fault: &eventv1.Fault{Code: string(fault.Internal)}}
}

// Merge joins another reply to what is known of a request of n events; known may be nil. The earlier reply wins where both
// are as certain.
func Merge(known, reply *eventv1.ClientReply, n int) *eventv1.ClientReply {
	if known == nil {
		return reply
	}
	better := func(i int) *eventv1.ClientReply {
		a, b := ReplyAt(known, i), ReplyAt(reply, i)
		if certaintyOf(b) > certaintyOf(a) {
			return b
		}
		return a
	}
	first := better(0)
	merged := &eventv1.ClientReply{
		Fault: first.GetFault(), AckArgs: first.GetAckArgs(), Attachments: first.GetAttachments(), Emits: first.GetEmits(),
	}
	for i := 1; i < n; i++ {
		merged.More = append(merged.More, better(i))
	}
	return merged
}

// IsFinal tells whether no further reply can change anything.
func IsFinal(reply *eventv1.ClientReply) bool {
	if certaintyOf(reply) < final {
		return false
	}
	for _, m := range reply.GetMore() {
		if certaintyOf(m) < final {
			return false
		}
	}
	return true
}

// NotExecuted tells whether an attempt did nothing of a request of n events.
func NotExecuted(reply *eventv1.ClientReply, n int) bool {
	for i := range n {
		if certaintyOf(ReplyAt(reply, i)) > notDone {
			return false
		}
	}
	return true
}
