package usecases

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/chat-service/internal/typing"
	"github.com/starling-chat/starling/platform/run"
)

// memory is a Store of rooms and memberships in memory, which decides by Decide. A test says how long its commits take and what
// becomes of them.
type memory struct {
	Store // what is not below is not asked

	mu      sync.Mutex
	state   rules.State
	takes   time.Duration                       // of a commit
	fate    func(commands []rules.Command) fate // of the next commit; nil = it succeeds
	batches [][]rules.Command                   // tried, in order
	read    [][]Receipt                         // tried, in order
	readErr func([]Receipt) error
	answers error // of reading the answer to a key
	evicted evictions
}

// evictions keep what an Evictor was asked.
type evictions []string

func (e *evictions) Evict(_ context.Context, room chat.RoomID, users []chat.UserID, seq uint64) {
	*e = append(*e, fmt.Sprint(room, " ", users, " ", seq))
}

// fate is what becomes of a commit.
type fate struct {
	err     error
	written bool // although there is an error: the answer got lost
}

func newMemory(w rulestest.World) *memory { return &memory{state: w.State()} }

// will lets the next commits end so, in turn, and those after them succeed.
func (m *memory) will(fates ...fate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fate = func([]rules.Command) fate {
		if len(fates) == 0 {
			return fate{}
		}
		next := fates[0]
		fates = fates[1:]
		return next
	}
}

func (m *memory) tried() [][]rules.Command {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.batches
}

func (m *memory) Prepare(commands []rules.Command) Transaction {
	return &memoryTransaction{m: m, commands: commands, written: map[int]rules.Outcome{}}
}

type memoryTransaction struct {
	m        *memory
	commands []rules.Command
	written  map[int]rules.Outcome // by tries whose answer got lost
}

func (t *memoryTransaction) Alone(index int) Transaction {
	one := &memoryTransaction{m: t.m, commands: t.commands[index : index+1], written: map[int]rules.Outcome{}}
	if o, ok := t.written[index]; ok {
		one.written[0] = o
	}
	return one
}

func (t *memoryTransaction) Commit(ctx context.Context) ([]rules.Outcome, chat.Outgoing, error) {
	m := t.m
	m.mu.Lock()
	takes := m.takes
	m.mu.Unlock()
	if !run.Pause(ctx, takes) {
		return nil, chat.Outgoing{}, errors.Join(ErrUnavailable, ctx.Err())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches = append(m.batches, t.commands)
	what := fate{}
	if m.fate != nil {
		what = m.fate(t.commands)
	}
	if what.err != nil && !what.written {
		return nil, chat.Outgoing{}, what.err
	}
	m.state.At, m.state.Written, m.state.Fresh = time.Now(), t.written, map[chat.RoomID]bool{}
	m.state.Now = m.state.At
	m.state.Repeats = true
	for _, id := range rules.NeedsOf(t.commands, false).Create {
		if _, exists := m.state.Rooms[id]; !exists {
			m.state.Fresh[id] = true
		}
	}
	changes, outcomes := rules.Decide(m.state, t.commands)
	m.apply(&changes, t.commands, outcomes)
	if what.err != nil {
		for i, o := range outcomes {
			if o.Changed {
				t.written[i] = o
			}
		}
		return nil, chat.Outgoing{}, what.err
	}
	var out chat.Outgoing
	for _, e := range slices.Concat(changes.Events, changes.Told) {
		out.Events = append(out.Events, chat.EncodedEvent{Room: e.Room, Seq: e.Seq})
	}
	return outcomes, out, nil
}

func (m *memory) apply(changes *rules.Changes, commands []rules.Command, outcomes []rules.Outcome) {
	for _, gone := range changes.Left {
		delete(m.state.Members, gone)
	}
	for _, come := range changes.Joined {
		m.state.Members[come.Membership] = rules.Member{Is: true, Name: come.Name, Role: come.Role, MutedUntil: come.MutedUntil, SentAt: come.SentAt}
	}
	for _, c := range slices.Concat(changes.Members, changes.Restricted) {
		m.state.Members[c.Membership] = c.Member
	}
	for _, r := range changes.Rooms {
		m.state.Rooms[r.ID] = r.Room
	}
	for _, l := range changes.Logs {
		if m.state.Logs == nil {
			m.state.Logs = map[chat.UserID]uint64{}
		}
		m.state.Logs[l.User] = l.Seq
	}
	for _, a := range changes.Answers {
		if m.state.Answers == nil {
			m.state.Answers = map[rules.KeyID]rules.Answer{}
		}
		m.state.Answers[a.Key] = a.Answer
	}
	for i, c := range commands {
		if s, ok := c.(rules.Send); ok && s.ClientMsgID != "" && outcomes[i].Changed {
			m.state.Sent[rules.Repeat{Room: s.Room, Sender: s.User, ClientMsgID: s.ClientMsgID}] = outcomes[i]
		}
	}
}

func (m *memory) View(_ context.Context, room chat.RoomID, user chat.UserID, page Page) (View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := View{Standing: m.standing(chat.Membership{Room: room, User: user}), Head: m.state.Rooms[room].Seq}
	v.Granted = page.Granted
	return v, nil
}

// standing needs mu.
func (m *memory) standing(pair chat.Membership) access.Standing {
	r, exists := m.state.Rooms[pair.Room]
	who := m.state.Members[pair]
	s := access.Standing{
		Exists: exists, Kind: r.Kind, Member: who.Is, Role: who.Role, ByToken: who.ByToken, BannedUntil: who.BannedUntil, MutedUntil: who.MutedUntil,
		Send: r.Settings.Send, Archived: r.Archived,
	}
	if r.Owner == pair.User {
		s.Role = access.RoleOwner
	}
	return s
}

func (m *memory) Standing(_ context.Context, pair chat.Membership) (access.Standing, chat.Name, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.standing(pair), m.state.Members[pair].Name, nil
}

func (m *memory) Room(_ context.Context, pair chat.Membership, granted access.Rights) (chat.RoomInfo, access.Standing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.standing(pair)
	s.Granted = granted
	return chat.RoomInfo{Room: pair.Room, Kind: m.state.Rooms[pair.Room].Kind}, s, nil
}

func (m *memory) Answer(_ context.Context, key rules.KeyID) (rules.Answer, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.state.Answers[key]
	return a, ok && m.answers == nil, m.answers
}

func (m *memory) MarkRead(ctx context.Context, receipts []Receipt) ([]ReadOutcome, error) {
	if !run.Pause(ctx, m.takes) {
		return nil, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read = append(m.read, receipts)
	if m.readErr != nil {
		if err := m.readErr(receipts); err != nil {
			return nil, err
		}
	}
	outcomes := make([]ReadOutcome, len(receipts))
	for i, r := range receipts {
		outcomes[i] = ReadOutcome{Standing: m.standing(r.Membership), MessageExists: true, Moved: true, Marked: true, Shown: true, Message: r.Message}
		outcomes[i].Granted = r.Granted
	}
	return outcomes, nil
}

func (m *memory) MarkNotifications(_ context.Context, read []NotificationsRead) ([]int, error) {
	left := make([]int, len(read))
	for i, r := range read {
		left[i] = 100 - len(r.IDs)
	}
	return left, nil
}

// published is a Publisher that keeps what it was given.
type published struct {
	Publisher

	mu     sync.Mutex
	events []chat.EncodedEvent
	facts  []chat.RoomEvent

	noticesRead []string
}

func (p *published) Committed(out chat.Outgoing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, out.Events...)
}

func (p *published) Ephemeral(e chat.RoomEvent) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.facts = append(p.facts, e)
	return nil
}

func (p *published) NotificationsRead(read NotificationsRead, unread int, exceptSocket string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noticesRead = append(p.noticesRead, fmt.Sprint(read.User, " ", len(read.IDs), " ", unread, " not to ", exceptSocket))
	return nil
}

func (p *published) seqs() (seqs []uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

type unobserved struct{}

func (unobserved) Batch(int, time.Duration) {}

type quiet struct{}

func (quiet) Tell(typing.Note) {}

// newTestWriter runs a Writer of one lane; stop drains it.
func newTestWriter(t *testing.T, m *memory, p Publisher, cfg WriterConfig) (w *Writer, stop func()) {
	t.Helper()
	cfg.Lanes = 1
	w = NewWriter(m, p, unobserved{}, cfg, slog.New(slog.DiscardHandler))
	return w, running(t, func(ctx context.Context) { _ = w.Run(ctx) })
}

// pass lets time pass in a bubble, and waits until what it caused has happened.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// running runs something until stop, or the end of the test.
func running(t *testing.T, run func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}
