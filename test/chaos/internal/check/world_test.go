package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// world writes the history of a small system that does everything right: 24 users, a room of all and one of four, two gateways,
// a drain, a stalled client, a full disk, an outcast, a revoked user, retries.
type world struct {
	h     *history.History
	seq   []uint64
	open  map[sightOf]int // position in h.Views
	conn  []int           // by user: position in h.Conns; -1: none
	count []int           // by user: connections so far
	seen  map[sightOf]uint64
	order []int
	n     []uint64        // messages of rooms
	twice map[string]bool // messages that are committed at every attempt
}

type sightOf struct{ user, room int }

const (
	people   = 24
	slowUser = 21
	outcast  = 22
	revoked  = 23
	observer = 0
	fresh    = 3 // comes back from the drain with a fresh session
	twofold  = 8 // has another device, which comes later and only hears the user's log
	tick     = 100 * time.Millisecond

	quietUser = 20 // says nothing; has another device with an inbox
	mentioner = "m716"
	farewell  = "m260" // mentions the outcast before it leaves

	freshTicks = 18
)

const second = time.Second

// fault times of the valid history.
const (
	drainAt  = 8 * second
	revokeAt = 25 * second
	leaveAt  = 27 * second
	stallAt  = 30 * second
	diskAt   = 50 * second
	healAt   = 60 * second
	stopAt   = 72 * second
	endAt    = 85 * second

	secondDeviceAt = 40 * second
	actAt          = 41 * second
)

// valid runs the world from the beginning to the end.
func valid(twice ...string) *history.History {
	w := &world{
		h:   &history.History{Config: history.Config{Seed: 1, Clients: people, Duration: healAt, Healed: healAt, Stopped: stopAt, End: endAt}},
		seq: make([]uint64, 2), open: map[sightOf]int{}, seen: map[sightOf]uint64{}, conn: make([]int, people), count: make([]int, people),
		order: make([]int, people), n: make([]uint64, 2), twice: map[string]bool{},
	}
	for _, id := range twice {
		w.twice[id] = true
	}
	for user := range people {
		w.h.Users = append(w.h.Users, history.User{ID: fmt.Sprintf("u%d", user), Slow: user == slowUser, Outcast: user == outcast})
		w.conn[user] = -1
	}
	w.h.Users[revoked].Revoked = revokeAt
	w.h.Rooms = []history.Room{{ID: "all", Hot: true}, {ID: "few"}}
	w.h.Faults = []history.Fault{
		{Nemesis: "drain", Action: "SIGTERM", Target: "gateway-1", Start: drainAt, End: drainAt + 3*second},
		{Nemesis: "slow", Action: "stops reading", Target: "u21", Start: stallAt, End: stallAt + 6*second, Users: []int{slowUser}},
		{Nemesis: "disk", Action: "fill", Target: "postgres", Start: diskAt, End: diskAt + 2*second},
	}
	w.h.Settings = []history.Setting{{Name: "fsync", Value: "on"}, {Name: "synchronous_commit", Value: "on"}}
	for now := time.Duration(0); now < endAt; now += tick {
		w.step(now)
	}
	w.h.Conns = append(w.h.Conns, history.Conn{
		User: twofold, Device: 1, Number: history.DeviceNumbers + 1, Socket: "another", Dialled: secondDeviceAt - tick, Up: secondDeviceAt,
	})
	for room, last := range w.seq {
		w.h.Rooms[room].LastSeq, w.h.Rooms[room].Count = last, w.n[room]
		w.h.Streamed = append(w.h.Streamed, history.Range{Room: room, From: 1, To: last})
	}
	w.sort()
	w.survey()
	w.inboxes()
	return w.h
}

// The messages with which something is done: three edits, the last one never acked, two reactions of which one is taken back, a deletion, and a pin.
func (w *world) acts(now history.Time) {
	switch now { //nolint:exhaustive // moments, not units
	case actAt:
		w.act(5, 0, messageEdit, "m200", "first edit", now, history.OK)
		w.act(7, 0, messageReact, "m200", "+1", now+tick/10, history.OK)
		w.act(9, 0, messageReact, "m200", "+1", now+2*tick/10, history.OK)
		w.act(1, 1, "message:pin", "m201", "", now+3*tick/10, history.OK)
	case actAt + second:
		w.act(7, 0, unreact, "m200", "+1", now, history.OK)
		w.act(5, 0, messageEdit, "m200", "second edit", now+tick/10, history.OK)
		w.act(1, 1, messageEdit, "m201", "secret", now+2*tick/10, history.OK)
		w.act(1, 1, messageReact, "m201", "+1", now+3*tick/10, history.OK)
	case actAt + 2*second:
		w.act(5, 0, messageEdit, "m210", "edit without an ack", now, history.Unknown)
		w.act(1, 1, messageDelete, "m201", "", now+tick/10, history.OK)
	}
}

// row is a message of the database.
func (w *world) row(room int, fits func(*history.Event) bool) *history.Event {
	for i := range w.h.Log {
		if e := &w.h.Log[i]; e.Room == room && e.Kind == messageNew && fits(e) {
			return e
		}
	}
	return &history.Event{}
}

func (w *world) act(user, room int, kind, id, what string, now history.Time, outcome history.Outcome) {
	now += tick / 5 // behind what is sent in the same tick
	m := w.row(room, func(e *history.Event) bool { return e.ClientMsgID == id })
	target := m.Seq
	e := history.Event{Room: room, User: -1, Message: m.Message, About: target}
	a := history.Act{User: user, Conn: w.count[user], Room: room, Kind: kind, Target: target, Order: 1, Invoke: now, Return: now + tick/20, Outcome: outcome}
	m.Version = w.seq[room] + 1
	switch kind {
	case messageEdit:
		e.Kind, a.Body, m.Body = messageEdited, history.Hash(what), history.Hash(what)
	case messageDelete:
		e.Kind, m.Deleted, m.Body, m.Counts, m.Reacted = messageDeleted, true, history.Hash(""), nil, nil
	case messageReact, unreact:
		reacted := history.Reacted{User: user, Key: what}
		e.Kind, a.Key, e.Changes = messageReactions, what, []history.Change{{Reacted: reacted, On: kind == messageReact}}
		if m.Reacted = append(m.Reacted, reacted); kind == unreact {
			m.Reacted = slices.DeleteFunc(m.Reacted, func(r history.Reacted) bool { return r == reacted })
		}
		m.Counts = []history.Count{{Key: what, N: len(m.Reacted)}}
	default:
		e.Kind = "message:pinned"
	}
	m.Digest = history.EventHash("digest", m.Version, "", m.Message, "")
	if a.Seq = w.commit(e, now); outcome != history.OK {
		a.Seq, a.Return = 0, now+2*second
	}
	w.h.Acts = append(w.h.Acts, a)
}

// survey has two clients and a stranger have what the database has, and a user of two devices the same badges.
func (w *world) survey() {
	for _, s := range []history.State{
		{User: 5, Kept: history.KeptLive, Since: 100},
		{User: 1, Room: 1, Kept: history.KeptLive},
		{User: 1, Room: 1, Kept: history.KeptHistory},
		{User: 5, Kept: history.KeptChanges},
	} {
		for i := range w.h.Log {
			if e := &w.h.Log[i]; e.Room == s.Room && e.Kind == messageNew && e.Seq > s.Since {
				s.Messages = append(s.Messages, history.Digest{Hash: e.Digest, Seq: uint32(e.Seq), Version: uint32(e.Version)})
			}
		}
		w.h.States = append(w.h.States, s)
	}
	var own *history.Event
	for i := range w.h.Log {
		if e := &w.h.Log[i]; e.Room == 0 && e.User == twofold && e.Kind == messageNew {
			own = e
		}
	}
	b := history.Badge{
		User: twofold, Seq: own.Seq, N: own.N, Unread: w.n[0] - own.N, Told: own.Seq - 10, ToldN: own.N - 10, Read: own.N, HeadN: w.n[0], Settled: true,
	}
	other := b
	other.Device, other.Settled, other.Read, other.HeadN = 1, false, own.N-10, 0
	w.h.Badges = append(w.h.Badges, b, other)
}

// inboxes has a user who says nothing, and mark something unread, show its rooms on another device and by a new connection.
func (w *world) inboxes() {
	back := w.row(0, func(e *history.Event) bool { return e.ClientMsgID == "m600" })
	last := w.row(0, func(e *history.Event) bool { return e.N == w.n[0] })
	w.h.Receipts = append(w.h.Receipts, history.Receipt{User: quietUser, Read: back.Seq + 20, Back: &back.Seq, BackHead: back.Seq + 30})
	is := history.InboxRoom{
		Seq: w.seq[0], N: w.n[0], Last: last.Message, Lead: last.Lead, Unread: w.n[0] - back.N, Mentions: 1, At: back.Seq + 30,
	}
	for device, fresh := range []bool{false, true} {
		w.h.Inboxes = append(w.h.Inboxes, history.Inbox{User: quietUser, Device: device + 1, Fresh: fresh, Rooms: []history.InboxRoom{is}})
	}
}

func (w *world) sort() {
	slices.SortStableFunc(w.h.Sends, func(a, b history.Send) int { return cmp.Compare(a.Invoke, b.Invoke) })
	slices.SortStableFunc(w.h.Log, func(a, b history.Event) int {
		return cmp.Or(cmp.Compare(a.Room, b.Room), cmp.Compare(a.Seq, b.Seq))
	})
	slices.SortStableFunc(w.h.Heard, func(a, b history.Heard) int { return cmp.Compare(a.At, b.At) })
}

func (w *world) step(now history.Time) {
	n := int(now / tick)
	switch {
	case n < people:
		w.connect(n, n%2, now, false)
		w.join(n, 0, now+time.Millisecond)
		if n < 4 {
			w.join(n, 1, now+2*time.Millisecond)
		}
	case now == 15*second:
		w.pair(now)
	case now == revokeAt+200*time.Millisecond:
		w.down(revoked, now, "revoked")
		w.endViews(revoked, now)
	case now == leaveAt:
		w.leave(outcast, 0, now)
	case now == diskAt+second:
		w.send(1, 0, "lost", now, history.Unknown, false)
		w.send(2, 0, "committed", now+time.Millisecond, history.Unknown, true)
		w.send(4, 0, "retried", now+2*time.Millisecond, history.Unknown, true)
	case now == diskAt+8*second:
		w.send(4, 0, "retried", now, history.OK, true)
		if w.twice["committed"] {
			w.send(2, 0, "committed", now+time.Millisecond, history.Unknown, true)
		}
	}
	if n >= people && now < stopAt {
		room, sender := n%2, n%20
		if room == 1 {
			sender = n % 4
		}
		if w.conn[sender] >= 0 {
			w.send(sender, room, fmt.Sprintf("m%d", n), now+10*time.Millisecond, history.OK, true)
		}
	}
	w.drainStep(now)
	w.acts(now)
	if now%second == 0 {
		w.tell(observer, now)
		w.tell(2, now)
		w.sample(now)
	}
}

// drainStep ends one connection of gateway-1 a tick, and brings the client of the one before back.
func (w *world) drainStep(now history.Time) {
	i := int((now - drainAt) / tick)
	if now < drainAt {
		return
	}
	if user := people - 1 - 2*i; user > 0 {
		w.down(user, now+50*time.Millisecond, "transport close")
		if user == fresh {
			w.endViews(user, now+50*time.Millisecond)
		}
	}
	if user := people + 1 - 2*i; user > 0 && user < people && user != fresh {
		w.connect(user, 0, now+60*time.Millisecond, true)
	}
	if i == freshTicks { // it stays away for a while, so that there is something to be missed
		w.connect(fresh, 0, now+60*time.Millisecond, false)
		w.join(fresh, 0, now+70*time.Millisecond)
		w.join(fresh, 1, now+80*time.Millisecond)
	}
}

func (w *world) connect(user, gateway int, now history.Time, recovered bool) {
	w.count[user]++
	w.h.Conns = append(w.h.Conns, history.Conn{
		User: user, Number: w.count[user], Socket: fmt.Sprintf("s%d-%d", user, w.count[user]), Gateway: gateway,
		Dialled: now - 10*time.Millisecond, Up: now, Recovered: recovered,
	})
	w.conn[user] = len(w.h.Conns) - 1
	if !recovered {
		return
	}
	for i := range w.h.Log {
		e := &w.h.Log[i]
		if at := (sightOf{user, e.Room}); e.Seq > w.seen[at] {
			if _, open := w.open[at]; open {
				w.deliver(user, e, now, history.Replayed)
			}
		}
	}
}

func (w *world) down(user int, now history.Time, why string) {
	c := &w.h.Conns[w.conn[user]]
	c.Down, c.Reason = now, why
	w.conn[user] = -1
}

func (w *world) endViews(user int, now history.Time) {
	for at, v := range w.open {
		if at.user == user {
			w.h.Views[v].End = now
			delete(w.open, at)
		}
	}
}

func (w *world) join(user, room int, now history.Time) {
	at := sightOf{user, room}
	c := w.h.Conns[w.conn[user]]
	since := w.seen[at]
	if since == 0 {
		w.commit(history.Event{Room: room, User: user, Kind: "room:user-joined", Except: c.Socket}, now)
	}
	ack := now + time.Millisecond
	w.h.Views = append(w.h.Views, history.View{
		User: user, Room: room, Conn: c.Number, Since: since, Head: w.seq[room], Invoke: now, Start: ack,
	})
	for i := range w.h.Log {
		if e := &w.h.Log[i]; e.Room == room && e.Kind == messageNew && e.Seq > since {
			w.deliver(user, e, ack, history.Joined)
		}
	}
	w.open[at], w.seen[at] = len(w.h.Views)-1, w.seq[room]
}

func (w *world) leave(user, room int, now history.Time) {
	at := sightOf{user, room}
	w.h.Views[w.open[at]].End = now + time.Millisecond
	delete(w.open, at)
	w.commit(history.Event{Room: room, User: user, Kind: "room:user-left", Except: w.h.Conns[w.conn[user]].Socket}, now)
}

// commit gives an event its number and everybody in the room the event.
func (w *world) commit(e history.Event, now history.Time) uint64 {
	w.seq[e.Room]++
	e.Seq = w.seq[e.Room]
	name := ""
	if e.User >= 0 {
		name = w.h.Users[e.User].ID
	}
	e.Hash = history.EventHash(e.Kind, e.Seq, name, e.Message, e.ClientMsgID)
	if e.Kind == messageNew {
		w.n[e.Room]++
		e.N, e.Version, e.Digest = w.n[e.Room], e.Seq, history.EventHash("digest", e.Seq, "", e.Message, "")
	}
	w.h.Log = append(w.h.Log, e)
	w.note(&e, now)
	for _, user := range e.Asides.Mentions {
		w.log(user, e.Room, "me:mention", now)
	}
	for user := range people {
		_, open := w.open[sightOf{user, e.Room}]
		if open && w.conn[user] >= 0 && w.h.Conns[w.conn[user]].Socket != e.Except {
			w.deliver(user, &e, now+5*time.Millisecond+time.Duration(user)*10*time.Microsecond, history.Live)
		}
	}
	return e.Seq
}

// note has the log of a user tell of a change of membership, and all devices of the user hear of it.
func (w *world) note(e *history.Event, now history.Time) {
	kind, change := map[string]string{"room:user-joined": "me:room-added", "room:user-left": "me:room-removed"}[e.Kind]
	if !change {
		return
	}
	w.log(e.User, e.Room, kind, now)
}

// log tells the devices of a user something.
func (w *world) log(user, room int, kind string, now history.Time) {
	u := &w.h.Users[user]
	u.LogSeq++
	t := history.Told{At: now, Hash: history.LogHash(kind, fmt.Append(nil, room, u.LogSeq)), Seq: u.LogSeq, Kind: kind, User: user, Room: room}
	w.h.Told = append(w.h.Told, t)
	heard := history.Heard{At: now + time.Millisecond, Hash: t.Hash, Seq: t.Seq, Kind: kind, User: t.User, Conn: w.count[t.User]}
	w.h.Heard = append(w.h.Heard, heard)
	if user == twofold {
		heard.At, heard.Device, heard.Conn = max(now, secondDeviceAt)+time.Millisecond, 1, history.DeviceNumbers+1
		w.h.Heard = append(w.h.Heard, heard)
	}
}

func (w *world) deliver(user int, e *history.Event, now history.Time, how history.Source) {
	w.seen[sightOf{user, e.Room}] = e.Seq
	d := history.Delivery{
		At: now, Hash: e.Hash, Seq: uint32(e.Seq), User: int32(user), Conn: int32(w.count[user]), Room: int16(e.Room), Source: how,
	}
	shown := e
	if e.Kind == messageEdited {
		shown = w.row(e.Room, func(m *history.Event) bool { return m.Seq == e.About })
	}
	if shown.Kind == messageNew {
		d.Body, d.Version = shown.Body, uint32(shown.Version)
	}
	w.h.Deliveries = append(w.h.Deliveries, d)
}

// send is one attempt; one that was committed before gets the same answer.
func (w *world) send(user, room int, id string, now history.Time, outcome history.Outcome, commits bool) {
	s := history.Send{
		User: user, Conn: w.count[user], Room: room, ID: id, Body: history.Hash(id), Invoke: now, Return: now + 4*time.Millisecond,
		Outcome: outcome,
	}
	if outcome == history.Unknown {
		s.Return = now + 5*second
	}
	switch id {
	case mentioner:
		to := w.row(room, func(e *history.Event) bool { return e.ClientMsgID == "m200" })
		s.Asides = history.Asides{Reply: to.Seq, Mentions: []int{quietUser}}
	case farewell:
		s.Asides.Mentions = []int{outcast}
	}
	w.order[user]++
	s.Order = w.order[user]
	if commits {
		seq := uint64(0)
		for i := range w.h.Log {
			if w.h.Log[i].ClientMsgID == id && !w.twice[id] {
				seq = w.h.Log[i].Seq
			}
		}
		if seq == 0 {
			message := fmt.Sprintf("id-%s-%d", id, now)
			seq = w.commit(history.Event{
				Room: room, User: user, Kind: messageNew, ClientMsgID: id, Message: message, Body: s.Body, Lead: history.Lead(id), Asides: s.Asides,
			}, now)
		}
		if outcome == history.OK {
			s.Seq = seq
			for i := range w.h.Log {
				if w.h.Log[i].Room == room && w.h.Log[i].Seq == seq {
					s.Message = w.h.Log[i].Message
				}
			}
		}
	}
	w.h.Sends = append(w.h.Sends, s)
}

// pair sends two messages without waiting for the first one's ack.
func (w *world) pair(now history.Time) {
	w.send(6, 0, "first", now, history.OK, true)
	w.send(6, 0, "second", now+time.Millisecond, history.OK, true)
}

func (w *world) tell(user int, now history.Time) {
	o := history.Online{At: now + 20*time.Millisecond, User: user}
	for u := range people {
		if w.conn[u] >= 0 && (w.h.Conns[w.conn[u]].Down == 0) {
			o.Users = append(o.Users, u)
		}
	}
	w.h.Online = append(w.h.Online, o)
}

func (w *world) sample(now history.Time) {
	w.h.Samples = append(w.h.Samples,
		history.Sample{At: now, Process: "gateway-0", PID: 10, RSS: 60 << 20, Gauges: map[string]float64{
			"starling_gateway_connections": 24, "starling_gateway_outbound_queue_bytes": 1000,
		}},
		history.Sample{At: now, Process: "chat-0", PID: 11, RSS: 40<<20 + int64(now/second)<<10, Gauges: map[string]float64{
			"starling_chat_outbox_lag": 1,
		}})
}
