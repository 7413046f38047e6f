package bus

import (
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// Inbox is where the replies to many requests come in: one subscription takes all of them, so that a request that waits costs
// an entry in its sender's map, and neither a goroutine nor a subscription.
//
//	_INBOX_<name>.<unique>.<id>    the reply subject of request id, in base 36
type Inbox struct{ prefix string }

// NewInbox makes an inbox that no other has.
func NewInbox(nc *nats.Conn) Inbox { return Inbox{prefix: nc.NewInbox() + "."} }

// Subject is what to subscribe to for all replies.
func (i Inbox) Subject() string { return i.prefix + "*" }

// Reply is the reply subject of one request.
func (i Inbox) Reply(id uint64) string { return i.prefix + strconv.FormatUint(id, 36) }

// Request tells which request a message on subject answers; ok is false when it is none of this inbox.
func (i Inbox) Request(subject string) (id uint64, ok bool) {
	token, found := strings.CutPrefix(subject, i.prefix)
	if !found {
		return 0, false
	}
	id, err := strconv.ParseUint(token, 36, 64)
	return id, err == nil
}
