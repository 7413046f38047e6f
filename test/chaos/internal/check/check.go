// Package check compares a run's history with what Starling promises. Each invariant is one pass over the history, in linear
// time after the index is built. No invariant looks at anything but the history.
//
// An invariant that finds nothing to look at says so (Skipped): a run without drains proves nothing about drains.
package check

import (
	"fmt"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// Result is the verdict on one invariant.
type Result struct {
	Number     int      `json:"number"`
	Name       string   `json:"name"`
	Violations []string `json:"violations,omitempty"` // the first maxShown
	Count      int      `json:"count"`                // of all violations
	Checked    int      `json:"checked"`              // how many things were looked at
	Note       string   `json:"note,omitempty"`       // what was left out, and why
	Skipped    bool     `json:"skipped,omitempty"`    // there was nothing to look at
}

// maxShown bounds the sentences kept of one invariant.
const maxShown = 20

// fail records a violation. x.near gives a sentence its faults; only those that are shown cost anything.
func (r *Result) fail(x *index, at history.Time, format string, args ...any) {
	r.Count++
	if len(r.Violations) < maxShown {
		r.Violations = append(r.Violations, fmt.Sprintf(format, args...)+x.near(at))
	}
}

func (r *Result) note(format string, args ...any) {
	if r.Note != "" {
		r.Note += "; "
	}
	r.Note += fmt.Sprintf(format, args...)
}

// invariant is one promise, by what a run shows of it.
type invariant struct {
	name  string
	check func(*index, *Result)
}

func invariants() []invariant {
	return []invariant{
		{"every acked message is in PostgreSQL with the acked seq and the same body", acked},
		{"at most one row for a clientMsgId; a retry got the same seq", once},
		{"room sequences are 1..last without holes", contiguous},
		{"what each client saw is contiguous and without repeats", seen},
		{"same room and seq, same event; same version, same content, everywhere", agreed},
		{"one sender's messages keep their order; acks order messages", ordered},
		{"an unacked message appears once or not at all", unacked},
		{"10 s after healing every client is at the head and errors are gone", healed},
		{"presence equals the living sockets and does not flap", presence},
		{"nothing reaches a non-member, or a revoked user after 1 s", outsiders},
		{"memory and queues are bounded; a slow client slows nobody else", resources},
		{"a full disk gives errors, never acks, and heals by itself", disk},
		{"a drain loses no operation and spreads reconnects", drains},
		{"the stream has every event: the outbox catches up", streamed},
		{"each device hears its user's log without gaps and repeats", logs},
		{"every client's rooms are as the database has them", states},
		{"edits, deletions, reactions and pins are done once, as acked", acts},
		{"the badges of a user's devices are equal, and the database's", badges},
		{"of deleted messages nothing is left", erased},
		{"inboxes show what the database has, without joining", inboxes},
	}
}

// Run checks all invariants, in order.
func Run(h *history.History) []Result {
	x := newIndex(h)
	var results []Result
	for i, inv := range invariants() {
		r := Result{Number: i + 1, Name: inv.name}
		if h.NoLog && needsLog(r.Number) {
			r.note("the database could not be read")
		} else {
			inv.check(x, &r)
		}
		r.Skipped = r.Checked == 0 && r.Count == 0
		results = append(results, r)
	}
	return results
}

// needsLog tells that an invariant says nothing without the database.
func needsLog(number int) bool { return number <= 7 || number == 10 || number >= 14 }

// Failed counts the invariants that are violated.
func Failed(results []Result) int {
	n := 0
	for _, r := range results {
		if r.Count > 0 {
			n++
		}
	}
	return n
}

// The patience that the invariants grant.
const (
	recoveryTime = 10 * time.Second // after a fault, until everything works again
	presenceTime = 15 * time.Second // after a fault, until presence is right
	answerTime   = 6 * time.Second  // for an answer: 5 s, and 1 s for the client's own slowness
	revokeTime   = time.Second
	revokeGrace  = 5 * time.Second // after a fault that was under way: gateways reconnect first
)

// clock writes a moment as the reports do: seconds since the start.
func clock(t history.Time) string { return fmt.Sprintf("%.3fs", t.Seconds()) }
