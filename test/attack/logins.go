//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

const (
	floodLogins = 115 // at once
	floodFrom   = 3   // addresses
)

// loginFlood logs in as users that do not exist, from few addresses, and as one that does, with wrong passwords. Each takes a place in
// the queue of those who check passwords; the wrong ones count against the victim, who logs in from another address meanwhile.
func loginFlood(ctx context.Context, t *target) (string, error) {
	var turn atomic.Int64
	mine := *t
	mine.pool = t.own
	outcomes := crowd(ctx, floodLogins, func(ctx context.Context, i int) string {
		n := turn.Add(1)
		username := "nobody-" + strconv.FormatInt(n, 10)
		if i%floodFrom == 0 {
			username = victim
		}
		err := mine.login(ctx, username, "a wrong password", "203.0.113."+strconv.Itoa(1+i%floodFrom))
		switch {
		case err == nil:
			return "let in"
		case strings.Contains(err.Error(), " 401 "):
			return "401"
		case strings.Contains(err.Error(), " 429 "):
			return "429"
		case strings.Contains(err.Error(), " 503 "):
			return "503"
		}
		return "failed"
	})
	var err error
	if outcomes.of("let in") > 0 {
		err = errors.New("a wrong password was let in")
	}
	return fmt.Sprintf("%d at once from %d addresses, a third of them for a known user: %s", floodLogins, floodFrom, outcomes), err
}
