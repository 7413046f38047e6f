package check

import (
	"cmp"
	"maps"
	"slices"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// acts is invariant 17, about what is done with messages that were sent:
//
//   - an act that was acked with a seq is what the database has there, and it is there once: no edit has two sequences.
//   - reactions come and go in turn, each once; those that the log tells of are those of the tables, and the counts are theirs. A user's are
//     as the last ack said.
//   - without a fault every act is answered.
func acts(x *index, r *Result) {
	for i := range x.h.Acts {
		a := &x.h.Acts[i]
		if !x.user(a.User) || !x.room(a.Room) {
			continue
		}
		r.Checked++
		if a.Outcome == history.OK && a.Seq > 0 {
			x.actDone(r, a)
		}
		x.actAnswered(r, a)
	}
	x.editsOnce(r)
	x.reactions(r)
}

// actDone compares an ack with the database.
func (x *index) actDone(r *Result, a *history.Act) {
	e := x.event(a.Room, a.Seq)
	kinds := map[string]string{messageEdit: messageEdited, messageDelete: messageDeleted, messageReact: messageReactions, unreact: messageReactions}
	of := func() bool {
		if e == nil || subject(e) != (place{a.Room, a.Target}) || kinds[a.Kind] != "" && kinds[a.Kind] != e.Kind {
			return false
		}
		if e.Kind != messageReactions || a.Key == "" {
			return true
		}
		return slices.Contains(e.Changes, history.Change{Reacted: history.Reacted{User: a.User, Key: a.Key}, On: a.Kind == messageReact})
	}
	if !of() {
		kind := "nothing"
		if e != nil {
			kind = e.Kind
		}
		r.fail(x, a.Return, "%s of %s with message %d of %s was acked at %s with seq %d: there the database has %s", a.Kind, x.userName(a.User), a.Target,
			x.roomName(a.Room), clock(a.Return), a.Seq, kind)
	}
}

// actAnswered judges an attempt as one to send. What is refused for good has its reasons: the message was deleted, the user is out, or has no
// business there.
func (x *index) actAnswered(r *Result, a *history.Act) {
	switch a.Code {
	case "not_found", "forbidden", "too_large":
		return
	}
	service(x, r, &history.Send{
		User: a.User, Conn: a.Conn, Room: a.Room, ID: a.Kind, Invoke: a.Invoke, Return: a.Return, Outcome: a.Outcome, Code: a.Code,
	})
}

// editsOnce finds an edit that two events of the log showed when they were new, or that was acked with two sequences.
func (x *index) editsOnce(r *Result) {
	at := make(map[uint64]place)
	note := func(hash uint64, p place, when history.Time) {
		if old, known := at[hash]; known && old != p {
			r.fail(x, when, "one edit is event %d of %s and event %d of %s", old.seq, x.roomName(old.room), p.seq, x.roomName(p.room))
		}
		at[hash] = p
	}
	for i := range x.h.Acts {
		if a := &x.h.Acts[i]; a.Kind == messageEdit && a.Outcome == history.OK {
			note(a.Body, place{a.Room, a.Seq}, a.Return)
		}
	}
	for i := range x.h.Deliveries {
		d := &x.h.Deliveries[i]
		if e := x.event(int(d.Room), uint64(d.Seq)); e != nil && e.Kind == messageEdited && d.Version == d.Seq {
			note(d.Body, place{int(d.Room), uint64(d.Seq)}, d.At)
		}
	}
}

// reactions follows the reactions of every message through the log.
func (x *index) reactions(r *Result) {
	end := x.h.Config.End
	on := make(map[place]map[history.Reacted]bool)
	for i := range x.h.Log {
		e := &x.h.Log[i]
		of := subject(e)
		if e.Kind == messageDeleted {
			delete(on, of)
		}
		for _, c := range e.Changes {
			r.Checked++
			if on[of] == nil {
				on[of] = make(map[history.Reacted]bool)
			}
			if on[of][c.Reacted] == c.On {
				r.fail(x, end, "%s: event %d has the reaction %q of %s to message %d come or go a second time", x.roomName(e.Room), e.Seq, c.Key, x.userName(c.User), of.seq)
			}
			if on[of][c.Reacted] = c.On; !c.On {
				delete(on[of], c.Reacted)
			}
		}
	}
	for i := range x.h.Log {
		if e := &x.h.Log[i]; e.Kind == messageNew {
			x.counted(r, e, on[subject(e)])
		}
	}
	for _, a := range x.lastReactions() {
		e := x.event(a.Room, a.Target)
		if a.Outcome != history.OK || e == nil || e.Deleted {
			continue
		}
		r.Checked++
		if is := on[subject(e)][history.Reacted{User: a.User, Key: a.Key}]; is != (a.Kind == messageReact) {
			r.fail(x, a.Return, "%s of %s to message %d of %s with %q was acked at %s, and in the end it is %t that it reacts so", a.Kind, x.userName(a.User), a.Target,
				x.roomName(a.Room), a.Key, clock(a.Return), is)
		}
	}
}

// counted compares the reactions of one message: by the log, one by one, and as counts.
func (x *index) counted(r *Result, e *history.Event, want map[history.Reacted]bool) {
	counts, have := make(map[string]int), make(map[history.Reacted]bool)
	for reacted := range want {
		counts[reacted.Key]++
	}
	for _, reacted := range e.Reacted {
		have[reacted] = true
	}
	shown := make(map[string]int)
	for _, c := range e.Counts {
		shown[c.Key] += c.N
	}
	if !maps.Equal(have, want) || !maps.Equal(counts, shown) {
		r.fail(x, x.h.Config.End, "%s: by the log message %d has %d reactions, by the table of reactions %d, by its counts %v", x.roomName(e.Room), e.Seq, len(want), len(have),
			shown)
	}
}

// lastReactions are the last attempts of each user with each message and key, by user and order.
func (x *index) lastReactions() []*history.Act {
	type reaction struct {
		history.Reacted
		of place
	}
	last := make(map[reaction]*history.Act)
	for i := range x.h.Acts {
		a := &x.h.Acts[i]
		if a.Kind != messageReact && a.Kind != unreact || !x.user(a.User) || !x.room(a.Room) {
			continue
		}
		at := reaction{history.Reacted{User: a.User, Key: a.Key}, place{a.Room, a.Target}}
		if old := last[at]; old == nil || old.Invoke <= a.Invoke {
			last[at] = a
		}
	}
	return slices.SortedFunc(maps.Values(last), func(a, b *history.Act) int { return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Order, b.Order)) })
}
