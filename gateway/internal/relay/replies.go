package relay

import (
	"github.com/starling-chat/starling/proto/fault"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// A request may have several answers, one for each attempt, and each has a part for each of its events. What they say together
// about one event, from the surest to the least sure:
//
//	done, or refused for good   whatever the others say
//	timeout                     some attempt may have done it
//	unavailable                 no attempt has done it

// part is the answer to event i of a request; a fault of the request as a whole is every event's.
func part(reply *eventv1.ClientReply, i int) *eventv1.ClientReply {
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

func rank(reply *eventv1.ClientReply) int {
	switch reply.GetFault().GetCode() {
	case string(fault.Unavailable):
		return 0
	case string(fault.Timeout):
		return 1
	}
	return 2
}

// together joins another answer to what is known of a request of n events; known may be nil. The earlier answer wins where both
// are as sure.
func together(known, reply *eventv1.ClientReply, n int) *eventv1.ClientReply {
	if known == nil {
		return reply
	}
	better := func(i int) *eventv1.ClientReply {
		a, b := part(known, i), part(reply, i)
		if rank(b) > rank(a) {
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

// isFinal tells whether no further answer can change anything.
func isFinal(reply *eventv1.ClientReply) bool {
	if rank(reply) < 2 {
		return false
	}
	for _, m := range reply.GetMore() {
		if rank(m) < 2 {
			return false
		}
	}
	return true
}

// isUndone tells whether an attempt did nothing of a request of n events.
func isUndone(reply *eventv1.ClientReply, n int) bool {
	for i := range n {
		if rank(part(reply, i)) > 0 {
			return false
		}
	}
	return true
}
