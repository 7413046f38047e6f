package publisher

import (
	"context"
	"log/slog"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/chat"
)

// Bounds of the relay.
const (
	relayRows    = 64
	relayTimeout = 5 * time.Second
)

// relayLoop publishes outbox rows that the fast path did not get rid of: the process died after the commit, or the
// stream was away. It rests while the stream is away.
func (p *Publisher) relayLoop(ctx context.Context) {
	timer := time.NewTimer(p.cfg.RelayPause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		more := true
		for more && ctx.Err() == nil && !p.Degraded() {
			more = p.relay(ctx)
		}
		timer.Reset(p.cfg.RelayPause)
	}
}

// relay takes and publishes one lot of rows; more tells that there are probably others.
func (p *Publisher) relay(ctx context.Context) (more bool) {
	ctx, cancel := context.WithTimeout(ctx, relayTimeout)
	defer cancel()
	rows, err := p.outbox.Claim(ctx, relayRows)
	if err != nil {
		p.unread.Failed(ctx, err)
	} else {
		p.unread.Over(ctx)
	}
	if len(rows) == 0 {
		return false
	}
	results := make(chan bool, len(rows))
	for _, row := range rows {
		p.publishRow(row, func(ok bool) { results <- ok })
	}
	failed := 0
	for range rows {
		select {
		case ok := <-results:
			if !ok {
				failed++
			}
		case <-ctx.Done():
			return false
		}
	}
	p.log.LogAttrs(ctx, slog.LevelInfo, "outbox relayed", slog.Int("rows", len(rows)), slog.Int("failed", failed))
	return failed == 0 && err == nil && len(rows) == relayRows
}

// deleteLoop deletes published rows in lots: nothing waits for it.
func (p *Publisher) deleteLoop(ctx context.Context) {
	tick := time.NewTicker(donePause)
	defer tick.Stop()
	var ids []chat.OutboxID
	for {
		select {
		case <-ctx.Done():
			for len(p.done) > 0 {
				ids = append(ids, <-p.done)
			}
			p.delete(ctx, ids)
			return
		case id := <-p.done:
			if ids = append(ids, id); len(ids) < doneBatch {
				continue
			}
		case <-tick.C:
		}
		p.delete(ctx, ids)
		ids = ids[:0]
	}
}

// delete leaves what it cannot delete to the relay, which publishes it again: the stream and the gateways drop repeats.
func (p *Publisher) delete(ctx context.Context, ids []chat.OutboxID) {
	if len(ids) == 0 {
		return
	}
	// The end of the loop does not interrupt it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
	defer cancel()
	if err := p.outbox.Done(ctx, ids); err != nil {
		p.log.LogAttrs(ctx, slog.LevelDebug, "outbox rows not deleted", slog.Any("error", err))
	}
}

func (p *Publisher) lagLoop(ctx context.Context) {
	if p.cfg.LagReport == nil {
		return
	}
	tick := time.NewTicker(lagPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked, cancel := context.WithTimeout(ctx, relayTimeout)
		if rows, age, err := p.outbox.Lag(asked); err == nil {
			p.cfg.LagReport(rows, age)
		}
		cancel()
	}
}
