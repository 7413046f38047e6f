package sessionstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/platform/run"
	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
	"github.com/starling-chat/starling/proto/subject"
)

// removal takes out of the bucket what belongs to sockets that left on purpose. Nobody recovers them, and the bucket has a bound:
// clients that connect and leave again and again would fill it, and then nobody is recovered.
//
// What was published is stored a moment later. A removal waits for that, and is done by the way.
type removal struct {
	mu      sync.Mutex // guards what follows
	queue   []left
	leaving map[string]struct{} // the pids in queue
}

// left is a socket that left on purpose.
type left struct {
	pid   string
	nonce string // of this gateway's hold on it: who has it by now under another one keeps it
	at    time.Time
}

const (
	removeAfter = time.Second // from the end of a socket until its state is taken out
	// maxRemovals bounds the sockets that wait for it; the state of others goes with the bucket's own age.
	maxRemovals    = 65_536
	removalWorkers = 8
	removalTimeout = 2 * time.Second
	removalPause   = 10 * time.Second // after one that failed
)

// add notes a socket that left.
func (r *removal) add(pid, nonce string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) >= maxRemovals {
		return
	}
	if r.leaving == nil {
		r.leaving = make(map[string]struct{})
	}
	r.queue = append(r.queue, left{pid, nonce, time.Now()})
	r.leaving[pid] = struct{}{}
}

// has tells whether a socket has just left: the bucket may not say so yet.
func (r *removal) has(pid string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.leaving[pid]
	return ok
}

// due takes out the sockets that left before a time.
func (r *removal) due(before time.Time) []left {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.queue) && r.queue[n].at.Before(before) {
		n++
	}
	due := r.queue[:n:n]
	if r.queue = r.queue[n:]; len(r.queue) == 0 {
		r.queue = nil
	}
	return due
}

// done forgets sockets that due gave.
func (r *removal) done(sockets []left) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range sockets {
		delete(r.leaving, l.pid)
	}
	if len(r.leaving) == 0 {
		r.leaving = nil
	}
}

// removeLeft takes out what belongs to sockets that left, until ctx ends.
func (s *Store) removeLeft(ctx context.Context, kv jetstream.KeyValue, js jetstream.JetStream) error {
	return run.Every(ctx, removeAfter/4, func(now time.Time) {
		sockets := s.removal.due(now.Add(-removeAfter))
		if len(sockets) == 0 {
			return
		}
		err := s.removeAll(ctx, kv, js, sockets)
		s.removal.done(sockets)
		if err == nil {
			s.removing.Over(ctx)
			return
		}
		s.removing.Failed(ctx, err)
		run.Pause(ctx, removalPause)
	})
}

// removeAll removes sockets, some at a time. It stops at an error: what is left goes with the bucket's own age.
func (s *Store) removeAll(ctx context.Context, kv jetstream.KeyValue, js jetstream.JetStream, sockets []left) error {
	call, cancel := context.WithTimeout(ctx, removalTimeout)
	stream, err := js.Stream(call, "KV_"+subject.SessionsBucket)
	cancel()
	if err != nil {
		return fmt.Errorf("open the bucket's stream: %w", err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	for worker := range removalWorkers {
		workers.Go(func() {
			for i := worker; i < len(sockets) && ctx.Err() == nil; i += removalWorkers {
				if err := remove(ctx, kv, stream, sockets[i]); err != nil {
					stop(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// remove removes the state and the end of one socket, unless another gateway has it by now.
func remove(ctx context.Context, kv jetstream.KeyValue, stream jetstream.Stream, l left) error {
	ctx, cancel := context.WithTimeout(ctx, removalTimeout)
	defer cancel()
	entry, err := kv.Get(ctx, subject.SessionState(l.pid))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the state of a socket that left: %w", err)
	}
	var state enginev1.SessionState
	if err := proto.Unmarshal(entry.Value(), &state); err != nil || state.GetNonce() != l.nonce {
		return nil // not ours to remove
	}
	// Up to the state that was read: one that was written since is somebody else's.
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject.SessionsKey(subject.SessionState(l.pid))), jetstream.WithPurgeSequence(entry.Revision()+1)); err != nil {
		return fmt.Errorf("remove the state of a socket that left: %w", err)
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject.SessionsKey(subject.SessionEnd(l.pid)))); err != nil {
		return fmt.Errorf("remove the end of a socket that left: %w", err)
	}
	return nil
}
