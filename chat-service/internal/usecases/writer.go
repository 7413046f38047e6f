package usecases

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/groupcommit"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/proto/fault"
)

// Writer is the group commit. Commands are spread over lanes by room; a lane takes what waits, up to a bound, commits it
// as one transaction, and meanwhile the next batch fills: the slower the commit, the larger the batch.
//
//	Submit ─▶ lane queue ─▶ commit loop ─▶ done queue ─▶ publish, then answer
//	          bounded;      one transaction  bounded;
//	          full: fault   at a time        full: the commit loop waits
//
// All events of a room pass one lane of a replica, so they are published in the order of their sequence.
type Writer struct {
	// Fixed at birth.
	store     Store
	publisher Publisher
	observer  Observer
	log       *slog.Logger
	cfg       WriterConfig
	grace     time.Duration // commitGrace, or less where the time is short
	seed      maphash.Seed
	lanes     []*lane

	// Guarded by mu.
	mu     sync.RWMutex
	closed bool // no Submit after the queues are closed
}

// WriterConfig has the bounds of a Writer.
type WriterConfig struct {
	Lanes     int           // transactions at a time
	BatchMax  int           // commands a transaction
	BatchWait time.Duration // how long a batch may wait for company; 0 = not at all
	Queue     int           // commands waiting in a lane
	Timeout   time.Duration // from Submit to the answer, at most, as long as no other command of the transaction came later
}

// retryAfter is what a refused sender is told.
const retryAfter = 250 * time.Millisecond

// commitTimeout bounds one transaction; an attempt after it may still fit into the client's patience.
const commitTimeout = 3 * time.Second

// commitGrace is what of a command's time is kept for a commit that has begun: a command that has less left is not begun.
const commitGrace = 500 * time.Millisecond

// maxAttempts bounds how often a batch is committed before its commands are answered with the failure. A batch whose
// outcome is unknown is tried until its deadline: only another commit tells.
const maxAttempts = 4

// NewWriter returns a Writer; it works while Run runs.
func NewWriter(store Store, publisher Publisher, observer Observer, cfg WriterConfig, log *slog.Logger) *Writer {
	w := &Writer{store: store, publisher: publisher, observer: observer, cfg: cfg, grace: min(commitGrace, cfg.Timeout/4), log: log, seed: maphash.MakeSeed()}
	for range max(cfg.Lanes, 1) {
		w.lanes = append(w.lanes, &lane{w: w, queue: make(chan *write, cfg.Queue), committed: make(chan committed, 2)})
	}
	return w
}

// Run works until ctx ends; then it refuses new commands and finishes those that it has taken.
func (w *Writer) Run(ctx context.Context) error {
	work := context.WithoutCancel(ctx)
	var wg sync.WaitGroup
	for _, l := range w.lanes {
		wg.Go(func() { l.commitLoop(work) })
		wg.Go(l.answerLoop)
	}
	<-ctx.Done()
	w.mu.Lock()
	w.closed = true
	for _, l := range w.lanes {
		close(l.queue)
	}
	w.mu.Unlock()
	wg.Wait()
	return nil
}

// Submit hands over a command and returns at once. done is called exactly once, from a goroutine of the Writer, after the
// commit; it must not block. A fault Unavailable says that the command was not taken.
func (w *Writer) Submit(c rules.Command, done func(rules.Outcome)) error {
	return w.submit(w.newWrite(c, done))
}

func (w *Writer) submit(item *write) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return groupcommit.Stopping()
	}
	select {
	case w.lane(rules.RoomOf(item.command)).queue <- item:
		return nil
	default:
		return fault.Retry(fault.Unavailable, "Too many messages at once", retryAfter)
	}
}

// Do is Submit for callers that wait. When ctx ends first the outcome is unknown and the error says so; a command that is not
// being committed by then is dropped, because its caller may have had it done by another replica, and more since.
func (w *Writer) Do(ctx context.Context, c rules.Command) (rules.Outcome, error) {
	result := make(chan rules.Outcome, 1)
	item := w.newWrite(c, func(o rules.Outcome) { result <- o })
	item.caller, item.trace = ctx.Done(), obs.ParentIn(ctx)
	if err := w.submit(item); err != nil {
		return rules.Outcome{}, err
	}
	select {
	case o := <-result:
		return o, o.Err
	case <-ctx.Done():
		return rules.Outcome{}, ctx.Err()
	}
}

// newWrite is a command that comes now. It is decided later, under the locks, and not done when it was given up.
func (w *Writer) newWrite(c rules.Command, done func(rules.Outcome)) *write {
	begin, wait := rules.AskerOf(c).Times(time.Now().Add(w.cfg.Timeout), w.grace)
	return &write{command: c, done: done, deadline: begin, wait: wait, trace: rules.TraceOf(c)}
}

func (w *Writer) lane(room chat.RoomID) *lane {
	return w.lanes[maphash.String(w.seed, string(room))%uint64(len(w.lanes))]
}

// write is a command in the Writer.
type write struct {
	// Fixed at birth.
	command  rules.Command
	done     func(rules.Outcome)
	deadline time.Time       // until when it may be begun
	wait     time.Duration   // for which its outcome is waited for after deadline
	caller   <-chan struct{} // closed when nobody waits for it any more; nil: somebody always does
	trace    string          // traceparent of who asked; "": not traced

	// Owned by the commit loop, then by the answer loop.
	outcome   rules.Outcome
	completed bool // outcome holds
}

// committed is a batch on its way to publication and answers.
type committed struct {
	writes   []*write
	outgoing []chat.Outgoing
}

type lane struct {
	w         *Writer
	queue     chan *write
	committed chan committed
}

// commitLoop ends when the queue is closed and empty.
func (l *lane) commitLoop(ctx context.Context) {
	defer close(l.committed)
	for first := range l.queue {
		batch := l.collect(first)
		outgoing := l.flush(ctx, batch)
		l.committed <- committed{batch, outgoing}
	}
}

// answerLoop publishes before it answers, so that a sender's next event cannot overtake this one.
func (l *lane) answerLoop() {
	for c := range l.committed {
		for _, out := range c.outgoing {
			l.w.publisher.Committed(out)
		}
		for _, item := range c.writes {
			item.done(item.outcome)
		}
	}
}

// collect takes what waits, up to the bound.
func (l *lane) collect(first *write) []*write {
	batch := make([]*write, 1, max(min(l.w.cfg.BatchMax, len(l.queue)+1), 1))
	batch[0] = first
	var wait <-chan time.Time
	if l.w.cfg.BatchWait > 0 {
		wait = time.After(l.w.cfg.BatchWait)
	}
	for len(batch) < l.w.cfg.BatchMax {
		select {
		case item, ok := <-l.queue:
			if !ok {
				return batch
			}
			batch = append(batch, item)
			continue
		default:
		}
		if wait == nil {
			return batch
		}
		select {
		case item, ok := <-l.queue:
			if !ok {
				return batch
			}
			batch = append(batch, item)
		case <-wait:
			return batch
		}
	}
	return batch
}

// flush commits a batch and completes every write in it. An unexpected failure of several commands is put down to one
// of them: each is then committed alone, so that the others do not suffer.
func (l *lane) flush(ctx context.Context, batch []*write) []chat.Outgoing {
	start := time.Now()
	live := batch[:0:0]
	for _, item := range batch {
		if start.After(item.deadline) || item.abandoned() {
			item.complete(rules.Outcome{Err: groupcommit.Overloaded()})
			continue
		}
		live = append(live, item)
	}
	if len(live) == 0 {
		return nil
	}
	commands := make([]rules.Command, len(live))
	for i, item := range live {
		commands[i] = item.command
	}
	transaction := l.w.store.Prepare(commands)
	outgoing, err := l.attempt(ctx, live, transaction)
	if err == nil {
		return outgoing
	}
	if len(live) == 1 {
		live[0].complete(rules.Outcome{Err: err})
		return nil
	}
	l.w.log.LogAttrs(ctx, slog.LevelWarn, "batch failed, committing one by one",
		slog.Int("size", len(live)), slog.Any("error", err))
	for i, item := range live {
		one, err := l.attempt(ctx, live[i:i+1], transaction.Alone(i))
		if err != nil {
			item.complete(rules.Outcome{Err: err})
		}
		outgoing = append(outgoing, one...)
	}
	return outgoing
}

// attempt commits the transaction of writes, again where that is safe and useful. A returned error is an unexpected one,
// with nothing completed.
func (l *lane) attempt(ctx context.Context, writes []*write, transaction Transaction) ([]chat.Outgoing, error) {
	var deadline time.Time
	for _, item := range writes {
		if end := item.deadline.Add(item.wait); end.After(deadline) {
			deadline = end
		}
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	ctx, span := traced(ctx, writes)
	defer span.End("")
	unknown := false
	var err error
	for try := 0; try < maxAttempts || unknown; try++ {
		if try > 0 && !errors.Is(err, ErrConflict) && !run.Pause(ctx, time.Duration(min(try*try, 10))*20*time.Millisecond) {
			break
		}
		var outcomes []rules.Outcome
		var out chat.Outgoing
		outcomes, out, err = l.commit(ctx, transaction, len(writes))
		switch {
		case err == nil:
			for i, item := range writes {
				item.complete(outcomes[i])
			}
			if len(out.Events) == 0 {
				return nil, nil
			}
			out.Trace = span.Parent()
			return []chat.Outgoing{out}, nil
		case errors.Is(err, ErrUnknown):
			unknown = true
		case !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnavailable):
			return nil, err
		}
		if !unknown && fault.KindOf(err) == fault.Unavailable {
			break // the circuit is open: no use in trying, save to find out what became of an earlier try
		}
	}
	failAll(writes, unknown, err)
	return nil, nil
}

// traced begins the span of a commit where one of the writes is traced.
func traced(ctx context.Context, writes []*write) (context.Context, *obs.Span) {
	if !obs.Traced() {
		return ctx, nil
	}
	parents := make([]string, len(writes))
	for i, item := range writes {
		parents[i] = item.trace
	}
	return obs.StartShared(ctx, "commit", parents)
}

func (l *lane) commit(ctx context.Context, transaction Transaction, size int) ([]rules.Outcome, chat.Outgoing, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	start := time.Now()
	outcomes, out, err := transaction.Commit(ctx)
	if err == nil {
		l.w.observer.Batch(size, time.Since(start))
	}
	return outcomes, out, err
}

// failAll answers honestly: Timeout where the write may have happened, Unavailable where it has not.
func failAll(writes []*write, unknown bool, cause error) {
	refusal := error(&fault.Error{Kind: fault.Unavailable, Message: "Service unavailable", RetryAfter: time.Second, Cause: cause})
	switch {
	case unknown:
		refusal = &fault.Error{Kind: fault.Timeout, Message: "The outcome is unknown", Cause: cause}
	case fault.KindOf(cause) == fault.Unavailable:
		refusal = cause // it says when to try again
	}
	for _, item := range writes {
		item.complete(rules.Outcome{Err: refusal})
	}
}

func (w *write) abandoned() bool {
	select {
	case <-w.caller:
		return true
	default:
		return false
	}
}

func (w *write) complete(o rules.Outcome) {
	if !w.completed {
		w.outcome, w.completed = o, true
	}
}
