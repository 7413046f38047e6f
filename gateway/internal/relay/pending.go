package relay

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// pending is one client event on its way.
type pending struct {
	event       string
	subject     string
	args        []byte // JSON array
	attachments [][]byte
	receivedAt  time.Time
	ackID       int64                   // -1: the client wants no ack
	room        string                  // of room:leave
	joined      *[]byte                 // takes the answer to a room:join that is a part of a room:enter
	task        func(*client, *pending) // instead of a NATS request; runs in a goroutine of its own
}

// The field numbers of ClientEvent and FollowingEvent that encode appends; events_test.go checks them against the schema.
const (
	fieldGateway     = 2
	fieldEvent       = 4
	fieldArgs        = 5
	fieldAttachments = 6
	fieldReceivedAt  = 8
	fieldMore        = 9

	fieldMoreArgs        = 1
	fieldMoreAttachments = 2
	fieldMoreReceivedAt  = 3
)

// encode makes the ClientEvent of events that share their name by appending its fields to the prefix: protobuf does not mind
// the order, and the identity is not encoded again for each request. There is room behind it for so many bytes more.
func (c *client) encode(events []*pending, room int) []byte {
	c.mu.Lock()
	prefix := c.prefix
	c.mu.Unlock()
	first := events[0]
	size := len(prefix) + len(c.relay.cfg.GatewayID) + len(first.event) + room
	for _, p := range events {
		size += p.size() + 32
	}
	b := append(make([]byte, 0, size), prefix...)
	b = protowire.AppendTag(b, fieldGateway, protowire.BytesType)
	b = protowire.AppendString(b, c.relay.cfg.GatewayID)
	b = protowire.AppendTag(b, fieldEvent, protowire.BytesType)
	b = protowire.AppendString(b, first.event)
	b = first.append(b, fieldArgs, fieldAttachments, fieldReceivedAt)
	var more []byte
	for _, p := range events[1:] {
		more = p.append(more[:0], fieldMoreArgs, fieldMoreAttachments, fieldMoreReceivedAt)
		b = protowire.AppendTag(b, fieldMore, protowire.BytesType)
		b = protowire.AppendBytes(b, more)
	}
	return b
}

// append encodes what each event has of its own.
func (p *pending) append(b []byte, args, attachments, receivedAt protowire.Number) []byte {
	b = protowire.AppendTag(b, args, protowire.BytesType)
	b = protowire.AppendBytes(b, p.args)
	for _, a := range p.attachments {
		b = protowire.AppendTag(b, attachments, protowire.BytesType)
		b = protowire.AppendBytes(b, a)
	}
	var at [24]byte
	t := protowire.AppendTag(at[:0], 1, protowire.VarintType)
	t = protowire.AppendVarint(t, uint64(p.receivedAt.Unix())) //nolint:gosec // after 1970
	t = protowire.AppendTag(t, 2, protowire.VarintType)
	t = protowire.AppendVarint(t, uint64(p.receivedAt.Nanosecond())) //nolint:gosec // not negative
	b = protowire.AppendTag(b, receivedAt, protowire.BytesType)
	return protowire.AppendBytes(b, t)
}

// size is about what an event takes in a request.
func (p *pending) size() int {
	n := len(p.args) + 8
	for _, a := range p.attachments {
		n += len(a) + 8
	}
	return n
}
