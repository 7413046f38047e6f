// Package faulttest checks in tests of every border that the id of an internal fault that a caller gets is in the log.
package faulttest

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"regexp"
	"sync"
	"testing"

	"github.com/starling-chat/starling/proto/fault"
)

// Log keeps what is logged. It is safe for concurrent use.
type Log struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

// Logger returns a logger that writes into l.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// Write implements io.Writer.
func (l *Log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(line)
}

// String returns all lines so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// message is what a caller gets of an internal fault.
var message = regexp.MustCompile(`Internal error ([a-z0-9]{10})\b`)

// WantID fails t unless answer, which may be a whole ack or body, has an internal fault whose id is in exactly one line of the log
// under fault.IDKey, together with the error.
func (l *Log) WantID(t testing.TB, answer string) {
	t.Helper()
	found := message.FindStringSubmatch(answer)
	if found == nil {
		t.Errorf("answer = %s, want an internal fault with an id", answer)
		return
	}
	lines, errors := 0, 0
	for line := range bytes.Lines([]byte(l.String())) {
		var record map[string]any
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatalf("log line %s: %v", line, err)
		}
		if record[fault.IDKey] == found[1] {
			lines++
			if _, ok := record["error"].(string); ok {
				errors++
			}
		}
	}
	if lines != 1 || errors != 1 {
		t.Errorf("the log has %d lines with %s %q and %d of them with an error, want 1 and 1:\n%s", lines, fault.IDKey, found[1], errors, l)
	}
}
