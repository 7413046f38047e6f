package chat

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

	"github.com/starling-chat/starling/platform/run"
)

// memory is a Store of rooms and memberships in memory, which decides by Decide. A test says how long its commits take and what
// becomes of them.
type memory struct {
	Store // what is not below is not asked

	mu      sync.Mutex
	state   State
	takes   time.Duration                 // of a commit
	fate    func(commands []Command) fate // of the next commit; nil = it succeeds
	batches [][]Command                   // tried, in order
	read    [][]Receipt                   // tried, in order
	readErr func([]Receipt) error
	evicted evictions
}

// evictions keep what an Evictor was asked.
type evictions []string

func (e *evictions) Evict(_ context.Context, room RoomID, users []UserID, seq uint64) {
	*e = append(*e, fmt.Sprint(room, " ", users, " ", seq))
}

// fate is what becomes of a commit.
type fate struct {
	err     error
	written bool // although there is an error: the answer got lost
}

func newMemory(w world) *memory { return &memory{state: w.state()} }

// will lets the next commits end so, in turn, and those after them succeed.
func (m *memory) will(fates ...fate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fate = func([]Command) fate {
		if len(fates) == 0 {
			return fate{}
		}
		next := fates[0]
		fates = fates[1:]
		return next
	}
}

func (m *memory) tried() [][]Command {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.batches
}

func (m *memory) Prepare(commands []Command) Transaction {
	return &memoryTransaction{m: m, commands: commands, written: map[int]Outcome{}}
}

type memoryTransaction struct {
	m        *memory
	commands []Command
	written  map[int]Outcome // by tries whose answer got lost
}

func (t *memoryTransaction) Alone(index int) Transaction {
	one := &memoryTransaction{m: t.m, commands: t.commands[index : index+1], written: map[int]Outcome{}}
	if o, ok := t.written[index]; ok {
		one.written[0] = o
	}
	return one
}

func (t *memoryTransaction) Commit(ctx context.Context) ([]Outcome, Outgoing, error) {
	m := t.m
	m.mu.Lock()
	takes := m.takes
	m.mu.Unlock()
	if !run.Pause(ctx, takes) {
		return nil, Outgoing{}, errors.Join(ErrUnavailable, ctx.Err())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches = append(m.batches, t.commands)
	what := fate{}
	if m.fate != nil {
		what = m.fate(t.commands)
	}
	if what.err != nil && !what.written {
		return nil, Outgoing{}, what.err
	}
	m.state.At, m.state.Written, m.state.Fresh = time.Now(), t.written, map[RoomID]bool{}
	for _, id := range NeedsOf(t.commands, false).Create {
		if _, exists := m.state.Rooms[id]; !exists {
			m.state.Fresh[id] = true
		}
	}
	changes, outcomes := Decide(m.state, t.commands)
	m.apply(&changes, t.commands, outcomes)
	if what.err != nil {
		for i, o := range outcomes {
			if o.Changed {
				t.written[i] = o
			}
		}
		return nil, Outgoing{}, what.err
	}
	var out Outgoing
	for _, e := range changes.Events {
		out.Events = append(out.Events, EncodedEvent{Room: e.Room, Seq: e.Seq})
	}
	return outcomes, out, nil
}

func (m *memory) apply(changes *Changes, commands []Command, outcomes []Outcome) {
	for _, gone := range changes.Left {
		delete(m.state.Members, gone)
	}
	for _, come := range changes.Joined {
		m.state.Members[come.Membership] = Member{Is: true, Name: come.Name, Role: come.Role, MutedUntil: come.MutedUntil}
	}
	for _, c := range slices.Concat(changes.Members, changes.Restricted) {
		m.state.Members[c.Membership] = c.Member
	}
	for _, r := range changes.Rooms {
		m.state.Rooms[r.ID] = r.Room
	}
	for i, c := range commands {
		if s, ok := c.(Send); ok && s.ClientMsgID != "" && outcomes[i].Changed {
			m.state.Sent[s.repeat()] = outcomes[i]
		}
	}
}

func (m *memory) View(_ context.Context, room RoomID, user UserID, _ Page) (View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return View{Standing: m.standing(Membership{room, user}), Head: m.state.Rooms[room].Seq}, nil
}

// standing needs mu.
func (m *memory) standing(pair Membership) Standing {
	b := &batch{state: &m.state, rooms: map[RoomID]*changingRoom{}}
	return b.standing(b.room(pair.Room), pair.User, m.state.Members[pair])
}

func (m *memory) Standing(_ context.Context, pair Membership) (Standing, Name, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.standing(pair), m.state.Members[pair].Name, nil
}

func (m *memory) Room(_ context.Context, pair Membership) (RoomInfo, Standing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return RoomInfo{Room: pair.Room, Kind: m.state.Rooms[pair.Room].Kind}, m.standing(pair), nil
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
		outcomes[i] = ReadOutcome{Standing: m.standing(r.Membership), MessageExists: true, Moved: true}
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
	events []EncodedEvent
	facts  []RoomEvent

	noticesRead []string
}

func (p *published) Committed(out Outgoing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, out.Events...)
}

func (p *published) Ephemeral(e RoomEvent) error {
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

func (quiet) Tell(TypingNote) {}

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
