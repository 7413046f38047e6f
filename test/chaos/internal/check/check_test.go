package check

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// TestValid also makes sure that every invariant found something to look at.
func TestValid(t *testing.T) {
	results := Run(valid())
	if len(results) != 20 {
		t.Fatalf("Run gives %d results, want 20", len(results))
	}
	for _, r := range results {
		if r.Count > 0 || r.Skipped {
			t.Errorf("invariant %d (%s): %d violations, checked %d: %s", r.Number, r.Name, r.Count, r.Checked, strings.Join(r.Violations, "\n"))
		}
	}
}

// TestEmpty: a history of nothing must not look like a success.
func TestEmpty(t *testing.T) {
	for _, r := range Run(&history.History{}) {
		if !r.Skipped || r.Count > 0 {
			t.Errorf("invariant %d of an empty history: %+v, want skipped", r.Number, r)
		}
	}
}

// broken is a valid history with one thing wrong. says is a part of the first violation.
type broken struct {
	name      string
	invariant int
	says      string
	harm      func(h *history.History)
	twice     string // a message that is committed at every attempt
}

func TestBroken(t *testing.T) {
	for _, cases := range [][]broken{databaseCases(), viewCases(), serviceCases(), otherCases(), logCases(), stateCases(), inboxCases()} {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				h := valid(strings.Fields(c.twice)...)
				if c.harm != nil {
					c.harm(h)
				}
				for _, r := range Run(h) {
					switch {
					case r.Number == c.invariant && r.Count == 0:
						t.Errorf("invariant %d (%s) holds", r.Number, r.Name)
					case r.Number == c.invariant && !strings.Contains(r.Violations[0], c.says):
						t.Errorf("invariant %d says %q, want %q in it", r.Number, r.Violations[0], c.says)
					case r.Number != c.invariant && r.Count > 0:
						t.Errorf("invariant %d (%s) fails as well: %v", r.Number, r.Name, r.Violations)
					}
				}
			})
		}
	}
}

func databaseCases() []broken {
	return []broken{
		{name: "acked and not in the database", invariant: 1, says: "no such event", harm: func(h *history.History) {
			h.Sends = append(h.Sends, history.Send{
				User: 4, Conn: 1, ID: "phantom", Invoke: stopAt - tick/2, Return: stopAt, Outcome: history.OK, Seq: h.Rooms[0].LastSeq + 1,
			})
		}},
		{name: "acked with the seq of another event", invariant: 1, says: "there the database has", harm: func(h *history.History) {
			sendOf(h, "m301").Seq++
		}},
		{name: "another body", invariant: 1, says: "another content", harm: func(h *history.History) { sendOf(h, "m301").Body++ }},
		{name: "fsync off", invariant: 1, says: "fsync", harm: func(h *history.History) { h.Settings[0].Value = "off" }},
		{name: "a retry was stored again", invariant: 2, says: "2 rows", twice: "retried"},
		{name: "two acks with different seqs", invariant: 2, says: "an earlier ack", twice: "retried", harm: func(h *history.History) {
			s := sendOf(h, "retried") // the first attempt: unknown until now
			for _, e := range h.Log {
				if e.ClientMsgID == "retried" {
					s.Outcome, s.Seq, s.Message = history.OK, e.Seq, e.Message
					break
				}
			}
		}},
		{name: "last_seq above the last event", invariant: 3, says: "no events", harm: func(h *history.History) { h.Rooms[0].LastSeq++ }},
		{name: "one seq twice", invariant: 3, says: "which is taken", harm: func(h *history.History) { h.Log = append(h.Log, h.Log[0]) }},
		{name: "a hole", invariant: 3, says: "no events 2 to 2", harm: func(h *history.History) {
			h.Rooms = append(h.Rooms, history.Room{ID: "empty", LastSeq: 3})
			h.Log = append(h.Log, history.Event{Room: 2, Seq: 1, User: -1}, history.Event{Room: 2, Seq: 3, User: -1})
			h.Streamed = append(h.Streamed, history.Range{Room: 2, From: 1, To: 3})
		}},
		{name: "another event at one client", invariant: 5, says: "another event", harm: func(h *history.History) {
			h.Deliveries[len(h.Deliveries)/2].Hash++
		}},
		{name: "a client saw what was never committed", invariant: 5, says: "does not have", harm: func(h *history.History) {
			d := h.Deliveries[len(h.Deliveries)-1]
			d.At, d.Seq = d.At+time.Millisecond, d.Seq+1
			h.Deliveries = append(h.Deliveries, d)
		}},
		{name: "pipelined messages change places", invariant: 6, says: "on the same connection", harm: func(h *history.History) {
			a, b := sendOf(h, "first"), sendOf(h, "second")
			a.Invoke, b.Invoke = b.Invoke, a.Invoke
			slices.SortStableFunc(h.Sends, func(a, b history.Send) int { return int(a.Invoke - b.Invoke) })
		}},
		{name: "acked before, numbered after", invariant: 6, says: "acked at", harm: func(h *history.History) {
			a, b := sendOf(h, "m301"), sendOf(h, "m303")
			a.Invoke, a.Return = b.Return+time.Millisecond, b.Return+2*time.Millisecond
			slices.SortStableFunc(h.Sends, func(a, b history.Send) int { return int(a.Invoke - b.Invoke) })
		}},
		{name: "an unacked message twice", invariant: 7, says: "never acked: 2 rows", twice: "committed"},
		{name: "an unacked message with another content", invariant: 7, says: "another content", harm: func(h *history.History) {
			sendOf(h, "committed").Body++
		}},
		{name: "a message that nobody sent", invariant: 7, says: "nobody sent", harm: func(h *history.History) {
			h.Sends = slices.DeleteFunc(h.Sends, func(s history.Send) bool { return s.ID == "committed" })
		}},
		{name: "an event is not in the stream", invariant: 14, says: "not in the stream", harm: func(h *history.History) {
			h.Streamed[0].To -= 2
		}},
		{name: "the new stream misses what came after its start", invariant: 14, says: "not in the stream", harm: func(h *history.History) {
			h.StreamSince = 40 * second
			h.Streamed[0].From = h.Streamed[0].To
		}},
	}
}

func viewCases() []broken {
	return []broken{
		{name: "a live event is missing", invariant: 4, says: "did not see 1 events", harm: func(h *history.History) {
			remove(h, at(h, 5, 0, history.Live, 40*second))
		}},
		{name: "a live event twice", invariant: 4, says: "again", harm: func(h *history.History) {
			i := at(h, 5, 0, history.Live, 40*second)
			h.Deliveries = slices.Insert(h.Deliveries, i+1, h.Deliveries[i])
		}},
		{name: "two events change places", invariant: 4, says: "did not see", harm: func(h *history.History) {
			i := at(h, 5, 0, history.Live, 40*second)
			j := i + 1
			for h.Deliveries[j].User != 5 || h.Deliveries[j].Room != 0 {
				j++
			}
			a, b := &h.Deliveries[i], &h.Deliveries[j]
			*a, *b = *b, *a
			a.At, b.At = b.At, a.At
		}},
		{name: "a history with a hole", invariant: 4, says: "since", harm: func(h *history.History) {
			remove(h, at(h, fresh, 0, history.Joined, drainAt))
		}},
		{name: "a history with what the client had", invariant: 4, says: "joined since", harm: func(h *history.History) {
			i := at(h, fresh, 0, history.Joined, drainAt)
			d := h.Deliveries[i]
			for _, e := range h.Log {
				if e.Room == 0 && e.Kind == messageNew {
					d.Seq, d.Hash, d.Body, d.Version = uint32(e.Seq), e.Hash, e.Body, uint32(e.Version)
					break
				}
			}
			h.Deliveries = slices.Insert(h.Deliveries, i, d)
		}},
		{name: "a recovery that forgets an event", invariant: 4, says: "did not see", harm: func(h *history.History) {
			remove(h, at(h, 9, 0, history.Replayed, drainAt))
		}},
		{name: "an event before the ack of the join", invariant: 4, says: "before its join was acked", harm: func(h *history.History) {
			i := at(h, fresh, 0, history.Joined, drainAt)
			d := h.Deliveries[i]
			d.At, d.Source = d.At-5*time.Millisecond, history.Live
			h.Deliveries = slices.Insert(h.Deliveries, i, d)
		}},
		{name: "an outcast hears of the room", invariant: 10, says: "after its leave", harm: func(h *history.History) {
			h.Deliveries = append(h.Deliveries, outcastDelivery(h, leaveAt-second, leaveAt+second))
		}},
		{name: "who was taken out hears what happened later", invariant: 10, says: "was no member when it happened", harm: func(h *history.History) {
			takenOut(h)
			h.Deliveries = append(h.Deliveries, outcastDelivery(h, leaveAt+second, leaveAt+2*second))
		}},
		{name: "somebody hears of a room between leaving and joining it", invariant: 10, says: "after its leave", harm: func(h *history.History) {
			// The outcast joins again for a moment.
			for i := range h.Views {
				if v := &h.Views[i]; v.User == outcast && v.Room == 0 {
					again := *v
					again.Invoke, again.Start, again.End = leaveAt+5*second, leaveAt+5*second, leaveAt+5*second
					for _, d := range h.Deliveries {
						if d.User == outcast && d.Room == 0 {
							again.Since, again.Head = uint64(d.Seq), uint64(d.Seq)
						}
					}
					h.Views = append(h.Views, again)
					break
				}
			}
			h.Deliveries = append(h.Deliveries, outcastDelivery(h, leaveAt-second, leaveAt+second))
		}},
		{name: "no member when it happened", invariant: 10, says: "no member", harm: func(h *history.History) {
			h.Deliveries = append(h.Deliveries, outcastDelivery(h, leaveAt+second, leaveAt+2*second))
		}},
		{name: "never a member", invariant: 10, says: "no member", harm: func(h *history.History) {
			d := h.Deliveries[at(h, 1, 1, history.Live, 30*second)]
			d.User = outcast
			h.Deliveries = append(h.Deliveries, d)
		}},
		{name: "a revoked user hears of the room", invariant: 10, says: "after it was revoked", harm: func(h *history.History) {
			d := h.Deliveries[at(h, 5, 0, history.Live, revokeAt+2*second)]
			d.User, d.Conn = revoked, 2
			h.Deliveries = append(h.Deliveries, d)
		}},
		{name: "a revoked user is let in again", invariant: 10, says: "was let in", harm: func(h *history.History) {
			h.Conns = append(h.Conns, history.Conn{
				User: revoked, Number: 3, Socket: "again", Dialled: 33 * second, Up: 33 * second, Down: 33*second + tick, ByClient: true,
			})
		}},
		{name: "a join brings too little", invariant: 4, says: "brought", harm: func(h *history.History) {
			for i := range h.Views {
				if v := &h.Views[i]; v.User == fresh && v.Room == 0 && v.Since > 0 {
					v.Since = 0
					return
				}
			}
		}},
		{name: "a revoked user stays connected", invariant: 10, says: "is still up", harm: func(h *history.History) {
			for i := range h.Conns {
				if c := &h.Conns[i]; c.User == revoked && c.Number == 2 {
					c.Down = revokeAt + 3*second
				}
			}
		}},
	}
}

func serviceCases() []broken {
	return []broken{
		{name: "a client is not connected", invariant: 8, says: "is not connected", harm: func(h *history.History) {
			for i := range h.Conns {
				if c := &h.Conns[i]; c.User == 4 && c.Down == 0 {
					c.Down = healAt + recoveryTime - 1100*time.Millisecond
					next := *c
					next.Number, next.Recovered, next.Up, next.Down = c.Number+1, true, healAt+recoveryTime+1100*time.Millisecond, 0
					h.Conns = append(h.Conns, next)
					return
				}
			}
		}},
		{name: "a client stops hearing", invariant: 8, says: "whose head was", harm: func(h *history.History) {
			h.Deliveries = slices.DeleteFunc(h.Deliveries, func(d history.Delivery) bool {
				return d.User == 5 && d.Room == 0 && d.At > 55*second
			})
		}},
		{name: "the last event never comes", invariant: 8, says: "in the end", harm: func(h *history.History) {
			h.Deliveries = slices.DeleteFunc(h.Deliveries, func(d history.Delivery) bool {
				return d.User == 5 && d.Room == 0 && uint64(d.Seq) == h.Rooms[0].LastSeq
			})
		}},
		{name: "a room is not entered again", invariant: 8, says: "is not back in", harm: func(h *history.History) {
			for i := range h.Conns {
				if c := &h.Conns[i]; c.User == 1 && c.Down == 0 {
					c.Down = 55 * second
					next := *c
					next.Number, next.Up, next.Down = c.Number+1, 55*second+tick, 0
					h.Conns = append(h.Conns, next)
					break
				}
			}
			for i := range h.Views {
				if v := &h.Views[i]; v.User == 1 && v.Room == 1 {
					v.End = 55 * second
				}
			}
			h.Deliveries = slices.DeleteFunc(h.Deliveries, func(d history.Delivery) bool {
				return d.User == 1 && d.Room == 1 && d.At > 55*second
			})
		}},
		{name: "no answer for long", invariant: 8, says: "no answer for", harm: func(h *history.History) {
			s := sendOf(h, "m220")
			s.Return = s.Invoke + 7*second
		}},
		{name: "an error without a fault", invariant: 8, says: "no fault for", harm: func(h *history.History) {
			s := sendOf(h, "lost")
			s.Invoke, s.Return, s.Outcome, s.Code = 22*second, 22*second+time.Millisecond, history.Fail, "unavailable"
		}},
		{name: "a connection ends in peace", invariant: 8, says: "ended at", harm: func(h *history.History) {
			for i := range h.Conns {
				if c := &h.Conns[i]; c.User == 4 && c.Down == 0 {
					c.Down, c.Reason = 28*second, "bye"
					next := *c
					next.Number, next.Recovered, next.Up, next.Down = c.Number+1, true, 28*second+tick/2, 0
					h.Conns = append(h.Conns, next)
					return
				}
			}
		}},
		{name: "a member is refused", invariant: 8, says: "forbidden", harm: func(h *history.History) {
			s := sendOf(h, "lost")
			s.Invoke, s.Return = 22*second, 22*second+time.Millisecond
			s.Outcome, s.Code = history.Fail, "forbidden"
		}},
		{name: "a refused message is stored", invariant: 7, says: "it is in the database", harm: func(h *history.History) {
			s := sendOf(h, "committed")
			s.Outcome, s.Code = history.Fail, "unavailable"
		}},
		{name: "a refusal for good", invariant: 8, says: "not to try again", harm: func(h *history.History) {
			s := sendOf(h, "lost")
			s.Outcome, s.Code = history.Fail, "unknown_event"
		}},
		{name: "errors long after the disk had room", invariant: 12, says: "had room again", harm: func(h *history.History) {
			s := sendOf(h, "lost")
			s.Invoke, s.Return = diskAt+13*second, diskAt+13*second+time.Millisecond
			s.Outcome, s.Code = history.Fail, "unavailable"
		}},
		{name: "nothing works after the disk had room", invariant: 12, says: "no send succeeded", harm: func(h *history.History) {
			gone := map[string]bool{}
			h.Sends = slices.DeleteFunc(h.Sends, func(s history.Send) bool {
				gone[s.ID] = gone[s.ID] || s.Invoke > diskAt+12*second
				return s.Invoke > diskAt+12*second
			})
			for i := range h.Log {
				if gone[h.Log[i].ClientMsgID] {
					h.Log[i].User = -1 // of nobody who could be asked
				}
			}
			h.Badges = nil // one's own messages count as read
		}},
	}
}

func otherCases() []broken {
	return []broken{
		{name: "a healthy user flaps", invariant: 9, says: "disappears", harm: func(h *history.History) { offline(h, 4, 40*second, 41*second) }},
		{name: "offline in calm", invariant: 9, says: "disappears", harm: func(h *history.History) { offline(h, 4, 28*second, 29*second) }},
		{name: "a user stays in the list", invariant: 9, says: "not been connected", harm: func(h *history.History) {
			for i := range h.Online {
				if o := &h.Online[i]; o.At > healAt && !slices.Contains(o.Users, revoked) {
					o.Users = append(o.Users, revoked)
				}
			}
		}},
		{name: "a user is missing after healing", invariant: 9, says: "offline", harm: func(h *history.History) {
			offline(h, 7, 0, endAt)
		}},
		{name: "memory grows", invariant: 11, says: "grew from", harm: func(h *history.History) {
			for i := range h.Samples {
				if s := &h.Samples[i]; s.Process == "chat-0" {
					s.RSS += int64(s.At/second) * 3 << 20
				}
			}
		}},
		{name: "memory beyond all bounds", invariant: 11, says: "MiB at", harm: func(h *history.History) { h.Samples[20].RSS = 2 << 30 }},
		{name: "send queues beyond their bound", invariant: 11, says: "send queues", harm: func(h *history.History) {
			h.Samples[20].Gauges["starling_gateway_outbound_queue_bytes"] = 24*sendQueue + 2*sendMessage
		}},
		{name: "a gauge is missing", invariant: 11, says: "has no gauge", harm: func(h *history.History) {
			for i := range h.Samples {
				delete(h.Samples[i].Gauges, "starling_chat_outbox_lag")
			}
		}},
		{name: "a user flaps across a quick reconnect", invariant: 9, says: "disappears", harm: func(h *history.History) {
			for i := range h.Conns {
				if c := &h.Conns[i]; c.User == 4 && c.Down == 0 {
					c.Down, c.ByClient = 38*second, true
					next := *c
					next.Number, next.Recovered, next.Up, next.Down = c.Number+1, true, 38*second+200*time.Millisecond, 0
					h.Conns = append(h.Conns, next)
					break
				}
			}
			offline(h, 4, 40*second, 41*second)
		}},
		{name: "the outbox stays full", invariant: 11, says: "outbox", harm: func(h *history.History) {
			h.Samples[len(h.Samples)-1].Gauges["starling_chat_outbox_lag"] = 4000
		}},
		{name: "a slow client slows the others", invariant: 11, says: "delivery p99", harm: func(h *history.History) {
			for i := range h.Deliveries {
				if d := &h.Deliveries[i]; d.At > stallAt && d.At < stallAt+5*second {
					d.At += time.Second
				}
			}
		}},
		{name: "all come back from a drain at once", invariant: 13, says: "ended within", harm: func(h *history.History) {
			for i := range h.Conns {
				if c := &h.Conns[i]; c.Number == 1 && c.Gateway == 1 && c.User != fresh && c.User != revoked {
					c.Down = min(c.Down, drainAt+50*time.Millisecond)
				}
			}
		}},
		{name: "a drained gateway has to be killed", invariant: 13, says: "did not end", harm: func(h *history.History) {
			h.Faults[0].Unhealed = "gateway-1 did not end after SIGTERM"
		}},
		{name: "a disk is not given its room back", invariant: 12, says: "still full", harm: func(h *history.History) {
			h.Faults[2].Unhealed = "still full"
		}},
		{name: "a drain loses an answer", invariant: 13, says: "drained without an answer", harm: func(h *history.History) {
			for i := range h.Sends {
				s := &h.Sends[i]
				if s.Invoke > drainAt && s.Conn == 1 && s.User%2 == 1 {
					s.Outcome, s.Return = history.Unknown, s.Invoke+50*time.Millisecond
					return
				}
			}
			panic("nobody sends during the drain")
		}},
	}
}

func sendOf(h *history.History, id string) *history.Send {
	for i := range h.Sends {
		if h.Sends[i].ID == id {
			return &h.Sends[i]
		}
	}
	panic("no message " + id)
}

// at is the first delivery to a client in a room after a moment.
func at(h *history.History, user int32, room int16, how history.Source, after history.Time) int {
	return slices.IndexFunc(h.Deliveries, func(d history.Delivery) bool {
		return d.User == user && d.Room == room && d.Source == how && d.At > after
	})
}

func remove(h *history.History, i int) { h.Deliveries = slices.Delete(h.Deliveries, i, i+1) }

// outcastDelivery gives the outcast at a moment what another member got at another one.
func outcastDelivery(h *history.History, event, now history.Time) history.Delivery {
	d := h.Deliveries[at(h, 5, 0, history.Live, event)]
	d.User, d.At = outcast, now
	return d
}

func offline(h *history.History, user int, from, to history.Time) {
	for i := range h.Online {
		if o := &h.Online[i]; o.At >= from && o.At < to {
			o.Users = slices.DeleteFunc(slices.Clone(o.Users), func(u int) bool { return u == user })
		}
	}
}

// takenOut has the outcast be taken out of its room by a moderator instead of leaving it.
func takenOut(h *history.History) {
	for i := range h.Views {
		if v := &h.Views[i]; v.User == outcast && v.Room == 0 {
			v.Removing = leaveAt - second
		}
	}
}

// TestLateForWhoWasTakenOut: what happened while the user was a member may be on its way for as long as it likes.
func TestLateForWhoWasTakenOut(t *testing.T) {
	h := valid()
	takenOut(h)
	last := 0
	for i := range h.Deliveries {
		if h.Deliveries[i].User == outcast && h.Deliveries[i].Room == 0 {
			last = i
		}
	}
	h.Deliveries[last].At = leaveAt + 20*second
	slices.SortStableFunc(h.Deliveries, func(a, b history.Delivery) int { return cmp.Compare(a.At, b.At) })
	for _, r := range Run(h) {
		if r.Count > 0 {
			t.Errorf("%d %s: %v", r.Number, r.Name, r.Violations)
		}
	}
}
