package transport

import (
	"context"
	"time"
)

// Conn is one link to a client, whatever carries it. All methods may be called from any goroutine and never block on the
// network.
type Conn interface {
	// Queue appends a message to the send queue. It neither writes nor closes, so that a caller may hold a lock. It reports
	// false when the message was not taken: the conn is closed, or the message is volatile and the queue too full for it,
	// or the queue would grow over its bound. In that last case nothing more is taken, and Flush closes the conn with
	// ReasonSlow: the client comes back and recovers. The type sendQueue has the rules.
	Queue(m *Message) bool
	// QueueRun is Queue for several messages in turn; taken is how many of them were. The suffixes are only valid during the call.
	QueueRun(run []Suffixed) (taken int)
	// FlushDue tells that Flush is to be called before more is queued: much is queued already, or the queue has overflowed.
	FlushDue() bool
	// Flush writes what is queued: at once if the kernel takes it, otherwise as soon as it does.
	Flush()
	// Close sends what is queued and a close frame with the code, then ends the link. The first reason wins.
	Close(code Code, reason Reason)
	// PauseRead stops reading after the message being received, so that TCP holds the client back; ResumeRead goes on.
	PauseRead()
	ResumeRead()
	// QueuedBytes tells how much waits to be written.
	QueuedBytes() int
	// Admitted tells that the peer has shown who it is: from now on its messages may have MaxMessage bytes.
	Admitted()
}

// Suffixed is a message whose last byte of text is replaced by the suffix: a socket's own offset at the end of a shared event.
// Without a suffix the message goes as it is.
type Suffixed struct {
	Message *Message
	Suffix  []byte
}

// Receiver is the session behind a Conn. Calls come from one goroutine at a time, in order.
type Receiver interface {
	// Receive takes one whole message; data is only valid during the call.
	Receive(data []byte, binary bool)
	// BatchEnd tells that everything that one read brought has been received: what may go together can go now.
	BatchEnd()
	// Closed is called once, after the last Receive.
	Closed(reason Reason)
}

// ArrivalWatcher is a Receiver that is told when a message has begun to arrive and its end is still to come. The call comes from the
// goroutine that calls Receive.
type ArrivalWatcher interface{ MessageBegun() }

// Code is a WebSocket close code (RFC 6455 §7.4).
type Code uint16

// The close codes that the gateway sends. CodeNormal is for ends that somebody meant: after it some official clients (C++) do
// not come back.
const (
	CodeNormal        Code = 1000
	CodeGoingAway     Code = 1001 // the client does not answer: come back
	CodeProtocol      Code = 1002
	CodeInvalidData   Code = 1007
	CodePolicy        Code = 1008
	CodeTooBig        Code = 1009
	CodeRestart       Code = 1012 // drain: come back, elsewhere
	CodeTryAgainLater Code = 1013 // overload: come back, later
)

// Reason says why a link ended, as a bounded label for metrics and the closing log line.
type Reason string

// The reasons of a disconnect.
const (
	ReasonClient      Reason = "client"       // the peer closed
	ReasonLost        Reason = "lost"         // the TCP connection broke
	ReasonProtocol    Reason = "protocol"     // the peer broke the protocol
	ReasonTooBig      Reason = "too_big"      // a message over the limit
	ReasonFrameTime   Reason = "frame_time"   // a frame did not complete in time
	ReasonSlow        Reason = "slow"         // the send queue overflowed
	ReasonPingTimeout Reason = "ping_timeout" // no pong
	ReasonNoConnect   Reason = "no_connect"   // no namespace CONNECT in time
	ReasonDisplaced   Reason = "displaced"    // not connected to a namespace yet when another client needed the place
	ReasonRefused     Reason = "refused"      // authentication or admission
	ReasonServer      Reason = "server"       // the server disconnected the last socket
	ReasonExpired     Reason = "expired"      // the token ended
	ReasonOverload    Reason = "overload"     // no capacity
	ReasonDrain       Reason = "drain"        // the gateway goes away
	ReasonLeft        Reason = "left"         // the client left the namespace
	ReasonStalled     Reason = "stalled"      // the gateway did not run for a while: what it reads now may be old
	ReasonFlood       Reason = "flood"        // the peer went on sending what is refused, or nobody asked for
	ReasonReplaced    Reason = "replaced"     // the client came back over another link and was recovered there
	ReasonGatewayLost Reason = "gateway_lost" // the gateway that has the session of a carried WebSocket is gone, or lost a part of it
)

// Reasons are all of them.
func Reasons() []Reason {
	return []Reason{
		ReasonClient, ReasonLost, ReasonProtocol, ReasonTooBig, ReasonFrameTime, ReasonSlow,
		ReasonPingTimeout, ReasonNoConnect, ReasonDisplaced, ReasonRefused, ReasonServer, ReasonExpired,
		ReasonOverload, ReasonDrain, ReasonLeft, ReasonStalled, ReasonFlood, ReasonReplaced,
		ReasonGatewayLost,
	}
}

// queueTick is between two looks at a queue.
const queueTick = 2 * time.Millisecond

// AwaitQueue waits until at most so many bytes are queued, or ctx ends.
func AwaitQueue(ctx context.Context, conn Conn, bytes int) error {
	ticker := time.NewTicker(queueTick)
	defer ticker.Stop()
	for conn.QueuedBytes() > bytes {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}
