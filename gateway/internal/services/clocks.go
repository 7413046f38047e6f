package services

import (
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// clocks is what was heard of the clocks of a service's replicas. Every request gives it back, so that a replica knows how old a request
// is at most, without a comparison of two machines' clocks.
type clocks struct {
	list    []heardClock
	encoded []byte // ClientEvent.heard; made anew for each change
}

type heardClock struct {
	replica, shows uint64
	at             time.Time // when it was heard
}

const (
	fieldHeard = 11 // the number of ClientEvent.heard
	// forgetClock is when a replica that is heard no more counts as gone: no gateway waits so long for an answer.
	forgetClock = 30 * time.Second
	// maxClocks bounds the replicas of a service that a request tells of; those heard last stay.
	maxClocks = 64
)

// hear notes what a replica's clock shows.
func (c *clocks) hear(replica, shows uint64, now time.Time) {
	c.list = slices.DeleteFunc(c.list, func(h heardClock) bool { return h.replica == replica || now.Sub(h.at) > forgetClock })
	if len(c.list) == maxClocks {
		c.list = slices.Delete(c.list, 0, 1)
	}
	c.list = append(c.list, heardClock{replica, shows, now})
	c.encoded = make([]byte, 0, 2*(1+8)*len(c.list)) // and never changed: requests read it
	for _, h := range c.list {
		for _, v := range [...]uint64{h.replica, h.shows} {
			c.encoded = protowire.AppendTag(c.encoded, fieldHeard, protowire.Fixed64Type)
			c.encoded = protowire.AppendFixed64(c.encoded, v)
		}
	}
}
