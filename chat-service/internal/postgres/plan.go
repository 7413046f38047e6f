package postgres

import (
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/proto/fault"
)

// plan is one transaction in memory: what its rooms look like under the lock, what each command does to them in turn,
// and the rows that this makes.
type plan struct {
	commands []*chat.Command
	outcomes []chat.Outcome
	outgoing chat.Outgoing
	at       time.Time // created_at of the batch's messages

	rooms     map[string]*room
	members   map[pair]*member
	sent      map[repeatKey]chat.Outcome // first messages by client message id, also those of this batch
	recovered map[uuid.UUID]chat.Outcome // what an attempt of unknown outcome did write

	messages messageRows
	events   eventRows
}

type room struct {
	exists  bool
	owner   string
	lastSeq uint64
	changed bool
	orphan  bool // the owner left: who follows is for the database to say
}

type pair struct{ room, user string }

type member struct {
	was, is, renewed bool // renewed: left and came again
	name             string
	order            int // of joining in this batch
}

type repeatKey struct{ room, sender, clientMsgID string }

type messageRows struct {
	rooms     []string
	seqs      []int64
	ids       [][16]byte
	senders   []string
	names     []string
	contents  []string
	types     []string
	clientIDs []string
}

type eventRows struct {
	rooms    []string
	seqs     []int64
	payloads [][]byte
}

func newPlan(commands []*chat.Command) *plan {
	p := &plan{
		commands: commands, outcomes: make([]chat.Outcome, len(commands)),
		rooms: make(map[string]*room, 16), members: make(map[pair]*member, len(commands)),
		sent: make(map[repeatKey]chat.Outcome, len(commands)),
	}
	for _, c := range commands {
		if p.rooms[string(c.Room)] == nil {
			p.rooms[string(c.Room)] = &room{}
		}
		if !c.System {
			key := pair{string(c.Room), string(c.User)}
			if p.members[key] == nil {
				p.members[key] = &member{}
			}
		}
	}
	return p
}

// What the first round trip asks for.

func (p *plan) toCreate() []string {
	var wanted map[string]struct{}
	for _, c := range p.commands {
		if c.Kind == chat.Join && c.Create {
			if wanted == nil {
				wanted = map[string]struct{}{}
			}
			wanted[string(c.Room)] = struct{}{}
		}
	}
	return sortedKeys(wanted)
}

func (p *plan) roomIDs() []string { return sortedKeys(p.rooms) }

type pairRows struct{ rooms, users, names []string }

func (p *plan) pairs() pairRows {
	r := pairRows{rooms: make([]string, 0, len(p.members)), users: make([]string, 0, len(p.members))}
	for key := range p.members {
		r.rooms, r.users = append(r.rooms, key.room), append(r.users, key.user)
	}
	return r
}

type repeatRows struct{ rooms, senders, ids []string }

func (p *plan) repeats() repeatRows {
	var r repeatRows
	for _, c := range p.commands {
		if c.Check && c.ClientMsgID != "" {
			r.rooms, r.senders = append(r.rooms, string(c.Room)), append(r.senders, string(c.User))
			r.ids = append(r.ids, c.ClientMsgID)
		}
	}
	return r
}

type triedRows struct {
	rooms []string
	seqs  []int64
	ids   [][16]byte
}

func (p *plan) tried() triedRows {
	var r triedRows
	for _, c := range p.commands {
		for _, t := range c.Tried {
			r.rooms = append(r.rooms, string(c.Room))
			r.seqs, r.ids = append(r.seqs, int64(t.Seq)), append(r.ids, t.ID) //nolint:gosec // 40 bits
		}
	}
	return r
}

// What it found.

func (p *plan) foundRoom(rows pgx.Rows) error {
	var id, owner string
	var seq int64
	if err := rows.Scan(&id, &seq, &owner); err != nil {
		return err
	}
	*p.rooms[id] = room{exists: true, owner: owner, lastSeq: uint64(seq)} //nolint:gosec // counts from 0
	return nil
}

func (p *plan) foundMember(rows pgx.Rows) error {
	var key pair
	m := &member{was: true, is: true}
	if err := rows.Scan(&key.room, &key.user, &m.name); err != nil {
		return err
	}
	p.members[key] = m
	return nil
}

func (p *plan) foundRepeat(rows pgx.Rows) error {
	var key repeatKey
	var seq int64
	var o chat.Outcome
	if err := rows.Scan(&key.room, &key.sender, &key.clientMsgID, &seq, (*[16]byte)(&o.ID), &o.CreatedAt); err != nil {
		return err
	}
	o.Seq = uint64(seq) //nolint:gosec // counts from 1
	p.sent[key] = o
	return nil
}

func (p *plan) foundTried(rows pgx.Rows) error {
	var seq int64
	o := chat.Outcome{Changed: true}
	if err := rows.Scan(&seq, (*[16]byte)(&o.ID), &o.CreatedAt); err != nil {
		return err
	}
	o.Seq = uint64(seq) //nolint:gosec // counts from 1
	if p.recovered == nil {
		p.recovered = map[uuid.UUID]chat.Outcome{}
	}
	p.recovered[o.ID] = o
	return nil
}

// decide applies the commands in their order.
func (p *plan) decide(at time.Time) error {
	p.at = at
	p.messages.grow(len(p.commands))
	p.outgoing.Events = make([]chat.EncodedEvent, 0, len(p.commands))
	var err error
	if p.outgoing.ID, err = newOutboxID(); err != nil {
		return err
	}
	for i, c := range p.commands {
		r := p.rooms[string(c.Room)]
		if !r.exists {
			if c.Kind != chat.Leave {
				p.outcomes[i].Err = fault.New(fault.NotFound, "Room not found")
			}
			continue
		}
		switch c.Kind {
		case chat.Send:
			p.outcomes[i], err = p.send(c, r)
		case chat.Join:
			p.outcomes[i], err = p.join(c, r)
		case chat.Leave:
			p.outcomes[i], err = p.leave(c, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) changes() bool { return len(p.outgoing.Events) > 0 }

func (p *plan) send(c *chat.Command, r *room) (chat.Outcome, error) {
	for _, t := range c.Tried {
		if o, ok := p.recovered[t.ID]; ok {
			return o, nil
		}
	}
	key := repeatKey{string(c.Room), string(c.User), c.ClientMsgID}
	if c.ClientMsgID != "" {
		if first, ok := p.sent[key]; ok {
			return first, nil
		}
	}
	name := c.UserName
	if !c.System {
		m := p.members[pair{string(c.Room), string(c.User)}]
		if !m.is {
			return chat.Outcome{Err: fault.New(fault.Forbidden, "Not a member of this room")}, nil
		}
		if name == "" {
			name = m.name
		}
	}
	seq := r.next()
	m := chat.Message{
		ID: chat.NewMessageID(p.at, seq, random64()), Room: c.Room, Seq: seq, Sender: chat.Sender{ID: c.User, Name: name},
		Content: c.Content, Type: c.Type, CreatedAt: p.at, ClientMsgID: c.ClientMsgID,
	}
	e, err := wire.Encode(chat.RoomEvent{Room: c.Room, Seq: seq, Fact: chat.MessageSent{Message: m}, CausedAt: c.CausedAt})
	if err != nil {
		return chat.Outcome{}, err
	}
	p.messages.add(&m)
	p.outgoing.Events = append(p.outgoing.Events, e)
	o := chat.Outcome{Position: chat.Position{Seq: seq, ID: m.ID}, CreatedAt: p.at}
	if c.ClientMsgID != "" {
		p.sent[key] = o
	}
	o.Changed = true
	return o, nil
}

func (p *plan) join(c *chat.Command, r *room) (chat.Outcome, error) {
	m := p.members[pair{string(c.Room), string(c.User)}]
	if m.is {
		return chat.Outcome{}, nil
	}
	m.is, m.renewed, m.name, m.order = true, m.was, c.UserName, len(p.events.rooms)
	if r.owner == "" && !r.orphan {
		r.owner = string(c.User)
	}
	return p.event(c, r, chat.RoomEvent{Fact: chat.UserJoined{User: c.User, Name: c.UserName}})
}

func (p *plan) leave(c *chat.Command, r *room) (chat.Outcome, error) {
	m := p.members[pair{string(c.Room), string(c.User)}]
	if !m.is {
		return chat.Outcome{}, nil
	}
	m.is, m.renewed = false, false
	if r.owner == string(c.User) {
		r.owner, r.orphan = "", true
	}
	return p.event(c, r, chat.RoomEvent{Fact: chat.UserLeft{User: c.User}, EvictUser: c.User})
}

// event adds a durable event that is no message.
func (p *plan) event(c *chat.Command, r *room, e chat.RoomEvent) (chat.Outcome, error) {
	e.Room, e.Seq, e.ExceptSocket, e.CausedAt = c.Room, r.next(), c.Socket, c.CausedAt
	encoded, err := wire.Encode(e)
	if err != nil {
		return chat.Outcome{}, err
	}
	p.events.rooms = append(p.events.rooms, string(c.Room))
	p.events.seqs = append(p.events.seqs, int64(e.Seq)) //nolint:gosec // 40 bits
	p.events.payloads = append(p.events.payloads, encoded.Bytes)
	p.outgoing.Events = append(p.outgoing.Events, encoded)
	return chat.Outcome{Position: chat.Position{Seq: e.Seq}, CreatedAt: p.at, Changed: true}, nil
}

func (r *room) next() uint64 {
	r.lastSeq++
	r.changed = true
	return r.lastSeq
}

// What the second round trip writes.

func (p *plan) membershipChanges() (gone, come pairRows) {
	var joiners []pair
	for key, m := range p.members {
		if m.was && (!m.is || m.renewed) {
			gone.rooms, gone.users = append(gone.rooms, key.room), append(gone.users, key.user)
		}
		if m.is && (!m.was || m.renewed) {
			joiners = append(joiners, key)
		}
	}
	// The order decides who is the longest member.
	slices.SortFunc(joiners, func(a, b pair) int { return p.members[a].order - p.members[b].order })
	for _, key := range joiners {
		come.rooms, come.users = append(come.rooms, key.room), append(come.users, key.user)
		come.names = append(come.names, p.members[key].name)
	}
	return gone, come
}

func (p *plan) advances() (rooms []string, seqs []int64, owners, orphans []string) {
	for id, r := range p.rooms {
		if !r.changed {
			continue
		}
		rooms, seqs, owners = append(rooms, id), append(seqs, int64(r.lastSeq)), append(owners, r.owner) //nolint:gosec // 40 bits
		if r.orphan {
			orphans = append(orphans, id)
		}
	}
	return rooms, seqs, owners, orphans
}

// rememberAttempt notes where the messages would be, for the next attempt to look.
func (p *plan) rememberAttempt() {
	for i, c := range p.commands {
		if c.Kind == chat.Send && p.outcomes[i].Changed {
			c.Tried = append(c.Tried, p.outcomes[i].Position)
		}
	}
}

func (r *messageRows) grow(n int) {
	r.rooms, r.seqs, r.ids = make([]string, 0, n), make([]int64, 0, n), make([][16]byte, 0, n)
	r.senders, r.names = make([]string, 0, n), make([]string, 0, n)
	r.contents, r.types, r.clientIDs = make([]string, 0, n), make([]string, 0, n), make([]string, 0, n)
}

func (r *messageRows) add(m *chat.Message) {
	r.rooms, r.seqs, r.ids = append(r.rooms, string(m.Room)), append(r.seqs, int64(m.Seq)), append(r.ids, m.ID) //nolint:gosec // 40 bits
	r.senders, r.names = append(r.senders, string(m.Sender.ID)), append(r.names, m.Sender.Name)
	r.contents, r.types = append(r.contents, m.Content), append(r.types, m.Type)
	r.clientIDs = append(r.clientIDs, m.ClientMsgID)
}
