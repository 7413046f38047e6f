// Package batcher has questions that are asked at about the same time share one call: to another service, to a database. It is for
// questions whose answers do not depend on each other, and which cost less when many of them are asked together.
//
// A question that finds nobody waiting for an answer leaves at once and alone. While calls are under way those that come gather, and leave
// together when one of the calls has returned, when there are enough of them, or after a short wait: a call that hangs holds up nobody
// else's question.
//
//	Ask ──fewer than Calls under way──────────────────────────────▶ call ──▶ each its own answer
//	 └────────────────────▶ gathering ──a call returned, Most, Wait──▶ ┘
package batcher

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Config has the bounds of a Batcher. All fields are needed.
type Config[Q, A any] struct {
	Most    int           // questions of one call
	Calls   int           // calls under way while which questions gather
	Wait    time.Duration // how long a question waits for calls that were made before, at most
	Timeout time.Duration // of one call
	// Call asks questions and gives the answer to each in the same order. Its context has the values of the first who asked, and ends after
	// Timeout, or when nobody waits any more. An error, or a panic, is everybody's.
	Call func(ctx context.Context, questions []Q) ([]A, error)
}

// Batcher gathers questions. It is safe for concurrent use, has no goroutine while nobody asks, and nothing to be closed.
type Batcher[Q, A any] struct {
	cfg Config[Q, A]

	mu    sync.Mutex   // guards what follows, and what batches say is guarded
	next  *batch[Q, A] // of the questions that gather; nil when there are none
	calls int          // under way
}

// New makes a Batcher.
func New[Q, A any](cfg Config[Q, A]) *Batcher[Q, A] { return &Batcher[Q, A]{cfg: cfg} }

// batch is the questions of one call.
type batch[Q, A any] struct {
	ctx    context.Context //nolint:containedctx // of the call, which nobody who asks owns alone
	cancel context.CancelFunc
	done   chan struct{} // closed when answers and err are set

	answers []A
	err     error

	// Guarded by the Batcher's mu.
	questions []Q // fixed when the batch leaves
	waiting   int // how many of those who asked wait
	late      *time.Timer
}

// Ask asks a question and waits for its answer. The call is never one that had begun before Ask.
func (b *Batcher[Q, A]) Ask(ctx context.Context, question Q) (A, error) {
	of, i := b.join(ctx, question)
	var none A
	select {
	case <-of.done:
	case <-ctx.Done():
		b.leave(of)
		return none, ctx.Err()
	}
	if of.err != nil {
		return none, of.err
	}
	return of.answers[i], nil
}

// join adds a question to those that gather, and has them leave if nothing holds them up. It tells which one it is.
func (b *Batcher[Q, A]) join(ctx context.Context, question Q) (of *batch[Q, A], i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		first := &batch[Q, A]{done: make(chan struct{})}
		first.ctx, first.cancel = context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // called when the call ends, or nobody waits for it
		b.next = first
	}
	of = b.next
	i = len(of.questions)
	of.questions = append(of.questions, question)
	of.waiting++
	switch {
	case b.calls < b.cfg.Calls || len(of.questions) >= b.cfg.Most:
		b.sendLocked()
	case i == 0:
		of.late = time.AfterFunc(b.cfg.Wait, func() { b.waited(of) })
	}
	return of, i
}

// leave forgets one who asked. Where that was the last one nobody needs the call.
func (b *Batcher[Q, A]) leave(of *batch[Q, A]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of.waiting--; of.waiting > 0 {
		return
	}
	of.cancel()
	if b.next == of {
		b.takeLocked()
	}
}

// waited has questions leave that have gathered for as long as they may.
func (b *Batcher[Q, A]) waited(of *batch[Q, A]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == of {
		b.sendLocked()
	}
}

// takeLocked takes what has gathered.
func (b *Batcher[Q, A]) takeLocked() *batch[Q, A] {
	of := b.next
	b.next = nil
	if of.late != nil {
		of.late.Stop()
	}
	return of
}

// sendLocked makes the call of the questions that have gathered.
func (b *Batcher[Q, A]) sendLocked() {
	b.calls++
	go b.call(b.takeLocked()) // ends by its timeout, or when those who wait for it have left
}

func (b *Batcher[Q, A]) call(of *batch[Q, A]) {
	defer of.cancel()
	ctx, cancel := context.WithTimeout(of.ctx, b.cfg.Timeout)
	defer cancel()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.calls--
		if b.next != nil && b.calls < b.cfg.Calls {
			b.sendLocked()
		}
	}()
	defer close(of.done)
	defer func() { // those who ask have servers around them that outlive a panic; this goroutine has not
		if p := recover(); p != nil {
			of.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	of.answers, of.err = b.cfg.Call(ctx, of.questions)
	if of.err == nil && len(of.answers) != len(of.questions) {
		of.err = fmt.Errorf("%d answers to %d questions", len(of.answers), len(of.questions))
	}
}
