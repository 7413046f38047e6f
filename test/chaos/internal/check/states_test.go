package check

import (
	"slices"
	"testing"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// rowOf is a message of the database.
func rowOf(h *history.History, id string) *history.Event {
	return &h.Log[slices.IndexFunc(h.Log, func(e history.Event) bool { return e.ClientMsgID == id })]
}

// shown is what the first State has of a message.
func shown(h *history.History, id string) *history.Digest {
	list := h.States[0].Messages
	return &list[slices.IndexFunc(list, func(d history.Digest) bool { return uint64(d.Seq) == rowOf(h, id).Seq })]
}

func actOf(h *history.History, kind string, n int) *history.Act {
	for i := range h.Acts {
		if a := &h.Acts[i]; a.Kind == kind {
			if n--; n < 0 {
				return a
			}
		}
	}
	panic("no such act: " + kind)
}

// editSeen is the first delivery of an edit of m200.
func editSeen(h *history.History) *history.Delivery {
	seq := actOf(h, messageEdit, 0).Seq
	return &h.Deliveries[slices.IndexFunc(h.Deliveries, func(d history.Delivery) bool { return d.Room == 0 && uint64(d.Seq) == seq })]
}

func stateCases() []broken {
	return []broken{
		{name: "a client misses an edit", invariant: 16, says: "in another state", harm: func(h *history.History) {
			shown(h, "m200").Hash++
		}},
		{name: "a client is at an older version", invariant: 16, says: "in another state", harm: func(h *history.History) {
			shown(h, "m200").Version--
		}},
		{name: "a client misses a message", invariant: 16, says: "does not have message", harm: func(h *history.History) {
			h.States[0].Messages = slices.Delete(h.States[0].Messages, 5, 6)
		}},
		{name: "a client misses the last message", invariant: 16, says: "does not have message", harm: func(h *history.History) {
			h.States[0].Messages = h.States[0].Messages[:len(h.States[0].Messages)-1]
		}},
		{name: "a client has a message too many", invariant: 16, says: "that there is not", harm: func(h *history.History) {
			list := h.States[0].Messages
			h.States[0].Messages = append(list, history.Digest{Seq: list[len(list)-1].Seq + 1})
		}},
		{name: "a stranger sees something else", invariant: 16, says: "(history) has message", harm: func(h *history.History) {
			h.States[2].Messages[3].Hash++
		}},
		{name: "an edit skips changed", invariant: 16, says: "was the last that happened to it", harm: func(h *history.History) {
			m := rowOf(h, "m210")
			m.Version = m.Seq
			for i := range h.States {
				for j := range h.States[i].Messages {
					if d := &h.States[i].Messages[j]; h.States[i].Room == 0 && uint64(d.Seq) == m.Seq {
						d.Version = uint32(m.Seq)
					}
				}
			}
		}},
		{name: "an edit that was acked is not what everybody saw", invariant: 5, says: "another content than version", harm: func(h *history.History) {
			actOf(h, messageEdit, 0).Body++
		}},
		{name: "one client sees another edit", invariant: 5, says: "another content than version", harm: func(h *history.History) {
			editSeen(h).Body++
		}},
		{name: "an edit shows the message as it was before", invariant: 5, says: "as it was before", harm: func(h *history.History) {
			editSeen(h).Version--
		}},
		{name: "a message is shown by a version of another one", invariant: 5, says: "changed nothing of it", harm: func(h *history.History) {
			d := &h.Deliveries[at(h, 5, 0, history.Live, 35*second)]
			d.Version++
		}},
		{name: "the row does not say what the last edit said", invariant: 1, says: "another content", harm: func(h *history.History) {
			rowOf(h, "m200").Body++
		}},
		{name: "an edit is acked with the seq of something else", invariant: 17, says: "there the database has", harm: func(h *history.History) {
			actOf(h, "message:pin", 0).Seq++
		}},
		{name: "a reaction is acked and not in the event", invariant: 17, says: "there the database has", harm: func(h *history.History) {
			h.Acts = append(h.Acts, *actOf(h, messageReact, 0))
			a := &h.Acts[len(h.Acts)-1]
			a.User, a.Target = 10, 0
		}},
		{name: "one edit is done twice", invariant: 17, says: "one edit is event", harm: func(h *history.History) {
			a, b := actOf(h, messageEdit, 0), actOf(h, messageEdit, 1)
			again := *a
			again.Seq, again.Target, again.Outcome = b.Seq, b.Target, history.OK
			b.Body = a.Body
			rowOf(h, "m200").Body = a.Body
			for i := range h.Deliveries {
				if d := &h.Deliveries[i]; d.Body == history.Hash("second edit") {
					d.Body = a.Body
				}
			}
		}},
		{name: "a reaction counts twice", invariant: 17, says: "a second time", harm: func(h *history.History) {
			for i := range h.Log {
				if e := &h.Log[i]; len(e.Changes) == 1 && e.Changes[0].User == 7 && e.Changes[0].On {
					e.Changes = append(e.Changes, e.Changes[0])
				}
			}
		}},
		{name: "counts that are not exact", invariant: 17, says: "by its counts", harm: func(h *history.History) {
			rowOf(h, "m200").Counts[0].N++
		}},
		{name: "a reaction is in no table", invariant: 17, says: "by the table of reactions 0", harm: func(h *history.History) {
			rowOf(h, "m200").Reacted = nil
		}},
		{name: "an acked reaction is not there in the end", invariant: 17, says: "in the end it is false", harm: func(h *history.History) {
			a := *actOf(h, messageReact, 0)
			a.Key, a.Seq = "heart", 0
			h.Acts = append(h.Acts, a)
		}},
		{name: "an edit is refused without a fault", invariant: 17, says: "and no fault for", harm: func(h *history.History) {
			a := actOf(h, messageEdit, 3)
			a.Invoke, a.Return, a.Outcome, a.Code = 22*second, 22*second+tick, history.Fail, "unavailable"
		}},
		{name: "two devices show different badges", invariant: 18, says: "and device 0 up to", harm: func(h *history.History) {
			h.Badges[1].Unread++
		}},
		{name: "one device was told of another marker", invariant: 18, says: "told", harm: func(h *history.History) {
			h.Badges[1].Told++
		}},
		{name: "a device was told something else than the list says", invariant: 18, says: "and the list says", harm: func(h *history.History) {
			h.Badges[0].Read++
		}},
		{name: "unread is no difference", invariant: 18, says: "are unread, and the list says", harm: func(h *history.History) {
			h.Badges[0].HeadN++
		}},
		{name: "a deleted message is found in a table", invariant: 19, says: "is in chat.replies.preview", harm: func(h *history.History) {
			h.Leaks = append(h.Leaks, history.Leak{Room: 1, Seq: rowOf(h, "m201").Seq, Where: "chat.replies.preview"})
		}},
		{name: "a deleted message is found in the stream", invariant: 19, says: "is in the stream", harm: func(h *history.History) {
			h.Leaks = append(h.Leaks, history.Leak{Room: 1, Seq: rowOf(h, "m201").Seq, Where: "the stream"})
		}},
	}
}

// TestStreamForgets: a message that was deleted just now may be in the stream for a while.
func TestStreamForgets(t *testing.T) {
	h := valid()
	h.Leaks = append(h.Leaks, history.Leak{Room: 1, Seq: rowOf(h, "m201").Seq, Where: "the stream"})
	actOf(h, messageDelete, 0).Return = h.Config.End - eraseGrace + second
	for _, r := range Run(h) {
		if r.Number == 19 && r.Count > 0 {
			t.Errorf("%d %s: %v", r.Number, r.Name, r.Violations)
		}
	}
}
