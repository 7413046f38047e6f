package gateway

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/starling-chat/starling/gateway/internal/session"
)

const (
	memoryInterval = 2 * time.Second
	// memoryBurst is how many handshakes leave enough behind to be worth a collection.
	memoryBurst = 500
	// memoryRounds is how often it collects: each round halves stacks that grew.
	memoryRounds = 3
)

// keepMemory gives the memory of a burst of handshakes back to the system once it is over. A handshake needs several times
// what an idle connection keeps, and without traffic nothing would make the collector run. While connections keep coming,
// or frames flow, the collector runs by itself and this does nothing but look.
func keepMemory(ctx context.Context, sessions *session.Server) error {
	ticker := time.NewTicker(memoryInterval)
	defer ticker.Stop()
	var before, kept int64
	rounds := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		opened := sessions.Opened()
		if opened == before && opened-kept >= memoryBurst {
			debug.FreeOSMemory()
			if rounds++; rounds == memoryRounds {
				kept, rounds = opened, 0
			}
		}
		before = opened
	}
}
