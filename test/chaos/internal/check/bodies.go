package check

import (
	"fmt"
	"slices"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// The client events and events about messages that were sent.
const (
	messageEdit   = "message:edit"
	messageDelete = "message:delete"
	messageReact  = "message:react"
	unreact       = "message:unreact"

	messageEdited    = "message:edited"
	messageDeleted   = "message:deleted"
	messageReactions = "message:reactions"
)

// body is what a message said from a sequence on. What an edit that was never acked said is known when somebody has seen it.
type body struct {
	seq   uint64
	hash  uint64
	known bool
}

// indexBodies collects what each message said, by version.
func (x *index) indexBodies() {
	x.bodies, x.edits, x.renamed = make(map[place][]body), make(map[place][]uint64), make(map[place]bool)
	acked := make(map[place]uint64)
	for i := range x.h.Acts {
		a := &x.h.Acts[i]
		if a.Renames {
			x.renamed[place{a.Room, a.Target}] = true
		}
		switch {
		case a.Kind != messageEdit:
		case a.Outcome == history.OK:
			acked[place{a.Room, a.Seq}] = a.Body
		default:
			at := place{a.Room, a.Target}
			x.edits[at] = append(x.edits[at], a.Body)
		}
	}
	for i := range x.h.Log {
		e := &x.h.Log[i]
		switch e.Kind {
		case messageNew:
			b := body{seq: e.Seq}
			if n, known := x.byID[e.ClientMsgID]; known {
				b.hash, b.known = x.h.Sends[x.messages[n].sends[0]].Body, true
			}
			x.bodies[place{e.Room, e.Seq}] = append(x.bodies[place{e.Room, e.Seq}], b)
		case messageEdited, messageDeleted:
			b := body{seq: e.Seq, hash: history.Hash(""), known: e.Kind == messageDeleted}
			if e.Kind == messageEdited {
				b.hash, b.known = acked[place{e.Room, e.Seq}]
			}
			x.bodies[place{e.Room, e.About}] = append(x.bodies[place{e.Room, e.About}], b)
		}
	}
	for of, list := range x.bodies {
		slices.SortFunc(list, func(a, b body) int { return int(a.seq) - int(b.seq) }) //nolint:gosec // far below 2^63
		if e := x.event(of.room, of.seq); len(list) == 1 && e != nil {
			list[0].hash, list[0].known = e.Body, true // the row says what was sent; acked and unacked compare it with that
		}
	}
}

// subject is which message an event shows or is about.
func subject(e *history.Event) place {
	if e.Kind == messageNew {
		return place{e.Room, e.Seq}
	}
	return place{e.Room, e.About}
}

// shows says what is wrong with how an event showed its message; "": nothing. It was the state of a version.
func (x *index) shows(e *history.Event, version, hash uint64) string {
	of := subject(e)
	if version < e.Seq {
		return fmt.Sprintf("with the message as it was before, by version %d", version)
	}
	if by := x.event(of.room, version); by == nil || subject(by) != of {
		return fmt.Sprintf("with version %d of message %d, which changed nothing of it", version, of.seq)
	}
	if !x.spoke(of, version, hash) {
		return fmt.Sprintf("with another content than version %d of message %d has", version, of.seq)
	}
	return ""
}

// spoke tells whether a message said something by a version. Of an edit that nobody knows the first who has seen it is believed, if somebody
// said that at all.
func (x *index) spoke(of place, version, hash uint64) bool {
	list := x.bodies[of]
	for i := len(list) - 1; i >= 0; i-- {
		if b := &list[i]; b.seq <= version {
			if !b.known && slices.Contains(x.edits[of], hash) {
				b.hash, b.known = hash, true
			}
			return b.known && b.hash == hash
		}
	}
	return false
}

// aside tells whether a row answers and mentions what its message does. An edit may have changed whom it mentions; of a deleted one nothing is left.
func (x *index) aside(e *history.Event, sent history.Asides) bool {
	if e.Deleted {
		sent = history.Asides{}
	}
	if x.renamed[subject(e)] {
		sent.Mentions, sent.Everyone = e.Asides.Mentions, e.Asides.Everyone
	}
	return e.Asides.Reply == sent.Reply && e.Asides.Everyone == sent.Everyone && slices.Equal(e.Asides.Mentions, sent.Mentions)
}

// said tells whether a row says what its message says in the end. That is what was sent, if nothing else was said.
func (x *index) said(e *history.Event, sent uint64) bool {
	list := x.bodies[subject(e)]
	if len(list) == 0 || !list[0].known || list[0].hash != sent {
		return false
	}
	return x.spoke(subject(e), list[len(list)-1].seq, e.Body)
}
