//go:build linux

package scenario

import (
	"time"

	"github.com/starling-chat/starling/test/bench/internal/histogram"
	"github.com/starling-chat/starling/test/bench/internal/inboxes"
	"github.com/starling-chat/starling/test/bench/internal/report"
)

const (
	inboxPatience = 10 * time.Second        // what was not told by then, counts as never told
	inboxPromise  = 1500 * time.Millisecond // docs/events.md, "The inbox"
)

// telling counts which members were told of which messages, and when. One goroutine owns it.
type telling struct {
	said    map[int64]*saying
	heard   map[hearer][]inboxes.Event // Activity of a user and a room, in their order
	refused int
}

// saying is one message.
type saying struct {
	room        string
	others      []int         // members who are to be told
	sent, acked time.Duration // 0 = not yet
	seq         int64         // 0 = not acknowledged
}

type hearer struct {
	user int
	room string
}

func newTelling() *telling {
	return &telling{said: map[int64]*saying{}, heard: map[hearer][]inboxes.Event{}}
}

// say notes that a member, by its place among them, is to say something.
func (t *telling) say(id int64, room string, members []int, sender int) {
	s := &saying{room: room}
	for i, m := range members {
		if i != sender {
			s.others = append(s.others, m)
		}
	}
	t.said[id] = s
}

// take takes in what happened. What a room's activity tells may come before the ack of the message.
func (t *telling) take(events []inboxes.Event) {
	for _, e := range events {
		s := t.said[e.ID]
		switch {
		case e.Kind == inboxes.Activity:
			h := hearer{e.User, e.Room}
			t.heard[h] = append(t.heard[h], e)
		case s == nil:
		case e.Kind == inboxes.Sent:
			s.sent = e.At
		case e.Kind == inboxes.Acked:
			s.acked, s.seq = e.At, e.Seq
		default:
			t.refused++
		}
	}
}

// after is how long a member took to be told of a message, or of a later one of the room.
func (t *telling) after(s *saying, user int) (d time.Duration, told bool) {
	for _, e := range t.heard[hearer{user, s.room}] {
		if s.seq > 0 && e.Seq >= s.seq {
			return e.At - s.sent, true
		}
	}
	return 0, false
}

// complete tells whether everything was acknowledged, and everybody told.
func (t *telling) complete() bool {
	for _, s := range t.said {
		for _, user := range s.others {
			if _, told := t.after(s, user); !told {
				return false
			}
		}
	}
	return true
}

// report adds when the others were told. Who never was, and what was not acknowledged, is a problem.
func (t *telling) report(r *report.Result) {
	var acks, told histogram.Histogram
	var unanswered, late, never int
	for _, s := range t.said {
		if s.seq == 0 {
			unanswered++
			continue
		}
		acks.Record(s.acked - s.sent)
		for _, user := range s.others {
			d, ok := t.after(s, user)
			if !ok || d > inboxPatience {
				never++
				continue
			}
			told.Record(d)
			if d > inboxPromise {
				late++
			}
		}
	}
	r.Add("messages said", "", float64(len(t.said)), report.Neutral)
	r.Add("ack p50", "ms", millis(acks.Quantile(0.5)), report.Lower)
	r.Add("ack p99", "ms", millis(acks.Quantile(0.99)), report.Lower)
	r.Add("inboxes told of a message", "", float64(told.Count()), report.Neutral)
	r.Add("told p50", "ms", millis(told.Quantile(0.5)), report.Lower)
	r.Add("told p99", "ms", millis(told.Quantile(0.99)), report.Lower)
	r.Add("told max", "ms", millis(told.Max()), report.Lower)
	r.Add("told later than 1.5 s", "", float64(late), report.Lower)
	r.Add("not told within 10 s", "", float64(never), report.Lower)
	if never > 0 {
		r.Problem("%d members were not told of a message within %v", never, inboxPatience)
	}
	if unanswered > 0 {
		r.Problem("%d messages were not acknowledged, %d of them refused", unanswered, t.refused)
	}
}
